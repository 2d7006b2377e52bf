"""How far every member has got, as far as this device knows. Pure; nothing here ever falls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from parley.chat.v1 import chat_pb2
from parley_client.events import WatermarkMoved


class Watermarks:
    """(delivered, read) per conversation and user."""

    def __init__(self) -> None:
        self._marks: dict[str, dict[str, tuple[int, int]]] = {}

    def of(self, conversation: str, user: str) -> tuple[int, int]:
        """(delivered_seq, read_seq) of a member; (0, 0) if nothing is known."""
        return self._marks.get(conversation, {}).get(user, (0, 0))

    def raise_to(self, conversation: str, user: str, delivered: int, read: int) -> WatermarkMoved | None:
        """A member has got so far; what moved, or None if that was known. Reading means having received."""
        old_delivered, old_read = self.of(conversation, user)
        new = (max(old_delivered, delivered, read), max(old_read, read))
        if new == (old_delivered, old_read):
            return None
        self._marks.setdefault(conversation, {})[user] = new
        return WatermarkMoved(conversation, user, *new)

    def forget(self, conversation: str) -> None:
        """The conversation is not the user's to see any more."""
        self._marks.pop(conversation, None)


# What one frame may carry.
RECEIPTS = 100

Mark = tuple[int, int]


@dataclass(slots=True)
class _Own:
    have: Mark = (0, 0)
    """What this device has, and its user has read here."""
    told: Mark = (0, 0)
    confirmed: Mark = (0, 0)
    """What the server knows of the user, from whatever device."""
    heard: int = 0
    """Up to where the server has heard that this very device has it."""

    @property
    def wanted(self) -> Mark:
        return _higher(self.have, self.confirmed)

    @property
    def is_due(self) -> bool:
        return self.wanted != _higher(self.told, self.confirmed)

    @property
    def is_behind(self) -> bool:
        return self.have[0] > self.heard


def _higher(one: Mark, other: Mark) -> Mark:
    return max(one[0], other[0]), max(one[1], other[1])


class Receipts:
    """(delivered, read) per conversation. `unconfirmed` is what an earlier run left without an answer.

    What is news of the user is told at once. That this device, too, has what is known of the user is told once in a
    while: content that goes when all devices have it waits for that.
    """

    def __init__(self, unconfirmed: Mapping[str, Mark] | None = None) -> None:
        self._own: dict[str, _Own] = {}
        self._due: dict[str, None] = {}
        self._behind: set[str] = set()
        self._told_here: set[str] = set()
        for conversation, mark in (unconfirmed or {}).items():
            self.want(conversation, *mark)

    def want(self, conversation: str, delivered: int = 0, read: int = 0) -> bool:
        """The user has received, or read, up to here on this device; whether that is news of the user."""
        own = self._own.setdefault(conversation, _Own())
        before = own.wanted
        own.have = _higher(own.have, (max(delivered, read), read))
        if own.is_due:
            self._due[conversation] = None
        if own.is_behind:
            self._behind.add(conversation)
        return own.wanted != before

    def confirm(self, conversation: str, delivered: int, read: int) -> None:
        """The server knows this much: it said so, or the user's own message in the log implies it."""
        own = self._own.setdefault(conversation, _Own())
        own.confirmed = _higher(own.confirmed, (delivered, read))
        if not own.is_due:
            self._due.pop(conversation, None)

    def welcome(self) -> None:
        """A new stream: what was told on the one before may not have come, and is told again."""
        for conversation in self._told_here:
            own = self._own[conversation]
            own.told, own.heard = own.confirmed, 0
            self._behind.add(conversation)
        self._told_here = set()
        for conversation, own in self._own.items():
            if own.is_due:
                self._due[conversation] = None

    def tick(self) -> None:
        """A while has passed: what is known of the user, but not yet of this device, is to be told too."""
        self._due |= dict.fromkeys(self._behind)
        self._behind = set()

    def due(self, limit: int = RECEIPTS) -> list[chat_pb2.Receipt]:
        """What is to be told now, at most `limit`; it counts as told."""
        told = []
        for conversation in list(self._due)[:limit]:
            del self._due[conversation]
            own = self._own[conversation]
            own.told, own.heard = own.have, own.have[0]
            self._behind.discard(conversation)
            self._told_here.add(conversation)
            told.append(chat_pb2.Receipt(conversation_id=conversation, delivered_seq=own.have[0], read_seq=own.have[1]))
        return told

    def unconfirmed(self) -> dict[str, Mark]:
        """What the server has not confirmed, or not heard of this device, to be kept for the next run."""
        return {name: own.have for name, own in self._own.items() if own.wanted != own.confirmed or own.is_behind}

    def forget(self, conversation: str) -> None:
        """The conversation is not the user's to see any more."""
        self._own.pop(conversation, None)
        self._due.pop(conversation, None)
        self._behind.discard(conversation)
        self._told_here.discard(conversation)
