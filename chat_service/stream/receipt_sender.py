"""The receipts of one session on their way to owners: coalesced, and sent again until they are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chat_service.model.requests import Receipt
from chat_service.stream.ports import Owners
from servicekit.failure import Failure

PAUSE_S: Final = 0.5
CONVERSATIONS: Final = 1000
MAX_IN_FLIGHT: Final = 64


class ReceiptSender:
    """One receipt a conversation is under way, and UNDER_WAY in all; newer ones wait, and only the highest counts."""

    def __init__(
        self, user_id: str, device_id: str, owners: Owners, later: Callable[[float, Callable[[], None]], None]
    ) -> None:
        self._who = user_id, device_id
        self._owners = owners
        self._later = later
        self._waiting: dict[str, tuple[int, int]] = {}
        self._in_flight: set[str] = set()
        # Refused for now; they come again after a pause.
        self._backing_off: set[str] = set()

    def add_receipt(self, conversation_id: str, delivered_seq: int, read_seq: int) -> None:
        """The device has got so far."""
        known = self._waiting.get(conversation_id)
        if known is None and len(self._waiting) >= CONVERSATIONS:
            # The device repeats its own after the next `welcome`.
            return
        delivered, read = known or (0, 0)
        self._waiting[conversation_id] = max(delivered, delivered_seq), max(read, read_seq)
        self._send(conversation_id)

    def _send(self, conversation_id: str) -> None:
        if conversation_id in self._in_flight or conversation_id not in self._waiting:
            return
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            return
        delivered, read = self._waiting.pop(conversation_id)
        self._in_flight.add(conversation_id)

        def wake() -> None:
            self._backing_off.discard(conversation_id)
            self._send(conversation_id)

        def answered(failure: Failure | None) -> None:
            self._in_flight.discard(conversation_id)
            if failure is not None and failure.retry_after is not None:
                later_delivered, later_read = self._waiting.get(conversation_id, (0, 0))
                self._waiting[conversation_id] = max(delivered, later_delivered), max(read, later_read)
                self._backing_off.add(conversation_id)
                self._later(PAUSE_S, wake)
            self._send_next()

        self._owners.send_receipt(Receipt(*self._who, conversation_id, delivered, read), answered)

    def _send_next(self) -> None:
        for conversation_id in list(self._waiting):
            if len(self._in_flight) >= MAX_IN_FLIGHT:
                return
            if conversation_id not in self._backing_off:
                self._send(conversation_id)
