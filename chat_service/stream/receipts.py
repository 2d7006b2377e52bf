"""The receipts of one session on their way to owners: coalesced, and sent again until they are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from servicekit.failure import Failure

PAUSE_S: Final = 0.5
CONVERSATIONS: Final = 1000


class Receivers(Protocol):
    """The owners, as far as receipts concern them."""

    def receive(
        self,
        user_id: str,
        conversation_id: str,
        delivered_seq: int,
        read_seq: int,
        reply: Callable[[Failure | None], None],
    ) -> None:
        """Have a member's watermarks raised."""


class Receipts:
    """One receipt a conversation is under way; newer ones wait for its answer, and only the highest counts."""

    def __init__(self, user_id: str, owners: Receivers, later: Callable[[float, Callable[[], None]], None]) -> None:
        self._user_id = user_id
        self._owners = owners
        self._later = later
        self._waiting: dict[str, tuple[int, int]] = {}
        self._under_way: set[str] = set()

    def add(self, conversation_id: str, delivered_seq: int, read_seq: int) -> None:
        """The device has got so far."""
        known = self._waiting.get(conversation_id)
        if known is None and len(self._waiting) >= CONVERSATIONS:
            # The device repeats its own after the next `welcome`.
            return
        delivered, read = known or (0, 0)
        self._waiting[conversation_id] = max(delivered, delivered_seq), max(read, read_seq)
        self._send(conversation_id)

    def _send(self, conversation_id: str) -> None:
        if conversation_id in self._under_way or conversation_id not in self._waiting:
            return
        delivered, read = self._waiting.pop(conversation_id)
        self._under_way.add(conversation_id)

        def answered(failure: Failure | None) -> None:
            self._under_way.discard(conversation_id)
            if failure is not None and failure.retry_after is not None:
                later_delivered, later_read = self._waiting.get(conversation_id, (0, 0))
                self._waiting[conversation_id] = max(delivered, later_delivered), max(read, later_read)
                self._later(PAUSE_S, lambda: self._send(conversation_id))
            else:
                self._send(conversation_id)

        self._owners.receive(self._user_id, conversation_id, delivered, read, answered)
