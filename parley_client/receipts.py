"""The user's own watermarks: what the server shall know, and what it has confirmed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from parley.chat.v1 import chat_pb2

# What one frame may carry.
RECEIPTS = 100

Mark = tuple[int, int]


@dataclass(slots=True)
class _Own:
    wanted: Mark = (0, 0)
    told: Mark = (0, 0)
    confirmed: Mark = (0, 0)


def _higher(one: Mark, other: Mark) -> Mark:
    return max(one[0], other[0]), max(one[1], other[1])


class Receipts:
    """(delivered, read) per conversation. `unconfirmed` is what an earlier run left without an answer."""

    def __init__(self, unconfirmed: Mapping[str, Mark] | None = None) -> None:
        self._own: dict[str, _Own] = {}
        self._due: dict[str, None] = {}
        for conversation, mark in (unconfirmed or {}).items():
            self.want(conversation, *mark)

    def want(self, conversation: str, delivered: int = 0, read: int = 0) -> bool:
        """The user has received, or read, up to here; whether that is news."""
        own = self._own.setdefault(conversation, _Own())
        before = own.wanted
        own.wanted = _higher(before, (max(delivered, read), read))
        if self._is_due(own):
            self._due[conversation] = None
        return own.wanted != before

    def confirm(self, conversation: str, delivered: int, read: int) -> None:
        """The server knows this much: it said so, or the user's own message in the log implies it."""
        own = self._own.setdefault(conversation, _Own())
        own.confirmed = _higher(own.confirmed, (delivered, read))
        own.wanted = _higher(own.wanted, own.confirmed)
        if not self._is_due(own):
            self._due.pop(conversation, None)

    def welcome(self) -> None:
        """A new stream: everything that was told and not confirmed is told again."""
        for conversation, own in self._own.items():
            own.told = own.confirmed
            if self._is_due(own):
                self._due[conversation] = None

    def due(self, limit: int = RECEIPTS) -> list[chat_pb2.Receipt]:
        """What is to be told now, at most `limit`; it counts as told."""
        told = []
        for conversation in list(self._due)[:limit]:
            del self._due[conversation]
            own = self._own[conversation]
            own.told = own.wanted
            told.append(
                chat_pb2.Receipt(conversation_id=conversation, delivered_seq=own.wanted[0], read_seq=own.wanted[1])
            )
        return told

    def unconfirmed(self) -> dict[str, Mark]:
        """What the server has not confirmed, to be kept for the next run."""
        return {name: own.wanted for name, own in self._own.items() if own.wanted != own.confirmed}

    def forget(self, conversation: str) -> None:
        """The conversation is not the user's to see any more."""
        self._own.pop(conversation, None)
        self._due.pop(conversation, None)

    @staticmethod
    def _is_due(own: _Own) -> bool:
        return own.wanted != _higher(own.told, own.confirmed)
