"""The receipts of one session: coalesced per conversation, and sent to the owners until they are stored."""

from __future__ import annotations

from typing import Final

from chat_service.model.requests import DoneOutcome, Receipt
from chat_service.stream.ports import Owners
from servicekit.clock import CallLater
from servicekit.failure import Failure

RETRY_INTERVAL_S: Final = 0.5
MAX_CONVERSATIONS: Final = 1000
MAX_IN_FLIGHT: Final = 64


class ReceiptSender:
    """Sends at most one receipt per conversation at a time, and MAX_IN_FLIGHT in all.

    Newer receipts of a conversation wait and are merged to the highest seqs. At most MAX_CONVERSATIONS wait.
    """

    def __init__(self, user_id: str, device_id: str, owners: Owners, call_later: CallLater) -> None:
        self._device = user_id, device_id
        self._owners = owners
        self._call_later = call_later
        self._waiting: dict[str, tuple[int, int]] = {}
        self._in_flight: set[str] = set()
        # Conversations whose receipt was refused for now; it is sent again after RETRY_INTERVAL_S.
        self._backing_off: set[str] = set()

    def add_receipt(self, conversation_id: str, delivered_seq: int, read_seq: int) -> None:
        """Send the device's receipt, or merge it into the one that waits."""
        waiting = self._waiting.get(conversation_id)
        if waiting is None and len(self._waiting) >= MAX_CONVERSATIONS:
            # Dropped: the device resends its receipts after the next `welcome`.
            return
        self._merge(conversation_id, delivered_seq, read_seq)
        self._send(conversation_id)

    def _merge(self, conversation_id: str, delivered_seq: int, read_seq: int) -> None:
        delivered, read = self._waiting.get(conversation_id, (0, 0))
        self._waiting[conversation_id] = max(delivered, delivered_seq), max(read, read_seq)

    def _send(self, conversation_id: str) -> None:
        if conversation_id in self._in_flight or conversation_id not in self._waiting:
            return
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            return
        delivered, read = self._waiting.pop(conversation_id)
        self._in_flight.add(conversation_id)

        def retry() -> None:
            self._backing_off.discard(conversation_id)
            self._send(conversation_id)

        def reply(outcome: DoneOutcome) -> None:
            self._in_flight.discard(conversation_id)
            if isinstance(outcome, Failure) and outcome.retry_after is not None:
                self._merge(conversation_id, delivered, read)
                self._backing_off.add(conversation_id)
                self._call_later(RETRY_INTERVAL_S, retry)
            self._send_next()

        self._owners.send_receipt(Receipt(*self._device, conversation_id, delivered, read), reply)

    def _send_next(self) -> None:
        for conversation_id in list(self._waiting):
            if len(self._in_flight) >= MAX_IN_FLIGHT:
                return
            if conversation_id not in self._backing_off:
                self._send(conversation_id)
