"""Which conversations are still to be looked at, and when the cursor may move. Pure.

A round is one run of `changes` pages, from its first to its last. Its cursor counts once every conversation
it named has been looked at by a fetch that was sent after it was named, and all rounds before it are done.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from parley.chat.v1 import chat_pb2

RANGES = 100
# A fetch without an answer for so long is sent again, in seconds.
UNANSWERED = 10.0


@dataclass(eq=False, slots=True)
class Round:
    """One run of pages."""

    remaining: set[str] = field(default_factory=set)
    complete: bool = False
    resync: bool = False
    cursor: chat_pb2.Cursor | None = None


class Catchup:
    """The looks that are wanted, those under way, and the rounds they serve."""

    def __init__(self, ranges: int = RANGES) -> None:
        self.ranges = ranges
        self._rounds: deque[Round] = deque()
        self._wanted: dict[str, set[Round]] = {}
        self._under_way: dict[str, set[Round]] = {}
        self._asked: dict[str, float] = {}
        self._not_before: dict[str, float] = {}

    def reset(self) -> None:
        """A new stream: what the old one was asked is forgotten, for the new one names everything again."""
        self._rounds.clear()
        self._wanted.clear()
        self._under_way.clear()
        self._asked.clear()
        self._not_before.clear()

    def page(self, changes: chat_pb2.Changes) -> None:
        """A page came."""
        if not self._rounds or self._rounds[-1].complete:
            self._rounds.append(Round())
        current = self._rounds[-1]
        for conversation in changes.conversation_ids:
            current.remaining.add(conversation)
            self._wanted.setdefault(conversation, set()).add(current)
        current.resync = current.resync or changes.resync != chat_pb2.Changes.RESYNC_UNSPECIFIED
        current.complete = changes.last_page
        current.cursor = changes.cursor if changes.HasField("cursor") else None

    def want(self, conversation: str, not_before: float = 0.0) -> None:
        """Look at a conversation for a reason of its own: a gap, or a sign of one."""
        if conversation not in self._under_way and conversation not in self._wanted:
            self._wanted[conversation] = set()
            self._not_before[conversation] = not_before

    def is_looking(self, conversation: str) -> bool:
        """Whether a look is wanted or under way."""
        return conversation in self._wanted or conversation in self._under_way

    def due(self, now: float) -> list[str]:
        """The conversations to fetch now; they count as under way."""
        for conversation in [each for each, asked in self._asked.items() if asked + UNANSWERED <= now]:
            self.again(conversation)
        room = self.ranges - len(self._under_way)
        ready = [
            each for each in self._wanted if each not in self._under_way and self._not_before.get(each, 0.0) <= now
        ][: max(0, room)]
        for conversation in ready:
            self._under_way[conversation] = self._wanted.pop(conversation)
            self._asked[conversation] = now
            self._not_before.pop(conversation, None)
        return ready

    def next_due(self) -> float | None:
        """When the earliest postponed look may be taken, if there is room for it; None: none is postponed."""
        if len(self._under_way) >= self.ranges:
            return None
        waiting = [at for each, at in self._not_before.items() if each in self._wanted]
        return min(waiting, default=None)

    def looked(self, conversation: str) -> None:
        """The look reached the head."""
        self._asked.pop(conversation, None)
        for each in self._under_way.pop(conversation, ()):
            each.remaining.discard(conversation)

    def again(self, conversation: str, not_before: float = 0.0) -> None:
        """The look must go on: it did not reach the head, or was refused for now."""
        self._asked.pop(conversation, None)
        self._wanted.setdefault(conversation, set()).update(self._under_way.pop(conversation, ()))
        if not_before:
            self._not_before[conversation] = not_before

    def finished(self) -> list[Round]:
        """The rounds that are done, oldest first; each is told once."""
        done = []
        while self._rounds and self._rounds[0].complete and not self._rounds[0].remaining:
            done.append(self._rounds.popleft())
        return done
