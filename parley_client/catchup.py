"""The scheduling of fetches, and the rounds of changes whose cursors they complete. Pure: time is an argument.

A round is one sequence of `changes` pages, from the first to the last. The device may store the round's cursor once
every conversation that the round lists has been fetched to its head, by a fetch that was sent after the round listed
it, and once all earlier rounds are finished.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from parley.chat.v1 import chat_pb2

MAX_FETCHES_IN_FLIGHT = 100
# Seconds without a response after which a fetch is sent again.
FETCH_TIMEOUT_S = 10.0


@dataclass(eq=False, slots=True)
class CatchupRound:
    """One sequence of `changes` pages, and the conversations that are still to be fetched for it."""

    remaining: set[str] = field(default_factory=set)
    complete: bool = False
    resync: bool = False
    cursor: chat_pb2.Cursor | None = None


class Catchup:
    """The requested fetches, the fetches in flight, and the rounds that they belong to."""

    def __init__(self, max_in_flight: int = MAX_FETCHES_IN_FLIGHT) -> None:
        self.max_in_flight = max_in_flight
        self._rounds: deque[CatchupRound] = deque()
        self._requested: dict[str, set[CatchupRound]] = {}
        self._in_flight: dict[str, set[CatchupRound]] = {}
        self._sent_times: dict[str, float] = {}
        self._not_before: dict[str, float] = {}

    def reset(self) -> None:
        """Drop all fetches and rounds when a new stream opens, because it lists all changes again."""
        self._rounds.clear()
        self._requested.clear()
        self._in_flight.clear()
        self._sent_times.clear()
        self._not_before.clear()

    def add_page(self, changes: chat_pb2.Changes) -> None:
        """Add a page to the current round and request a fetch of each conversation on it."""
        if not self._rounds or self._rounds[-1].complete:
            self._rounds.append(CatchupRound())
        current = self._rounds[-1]
        for conversation in changes.conversation_ids:
            current.remaining.add(conversation)
            self._requested.setdefault(conversation, set()).add(current)
        current.resync = current.resync or changes.resync != chat_pb2.Changes.RESYNC_UNSPECIFIED
        current.complete = changes.last_page
        current.cursor = changes.cursor if changes.HasField("cursor") else None

    def request_fetch(self, conversation: str, not_before: float = 0.0) -> None:
        """Request a fetch outside of any round: for a gap, or for a head that is known to be ahead."""
        if conversation not in self._in_flight and conversation not in self._requested:
            self._requested[conversation] = set()
            self._not_before[conversation] = not_before

    def is_fetching(self, conversation: str) -> bool:
        """Return True if a fetch is requested or in flight."""
        return conversation in self._requested or conversation in self._in_flight

    def start_due_fetches(self, now: float) -> list[str]:
        """Return the conversations to fetch now, and count them as in flight. Fetches that timed out are included."""
        for conversation in [each for each, sent in self._sent_times.items() if sent + FETCH_TIMEOUT_S <= now]:
            self.retry_fetch(conversation)
        free_slots = self.max_in_flight - len(self._in_flight)
        ready = [
            each for each in self._requested if each not in self._in_flight and self._not_before.get(each, 0.0) <= now
        ][: max(0, free_slots)]
        for conversation in ready:
            self._in_flight[conversation] = self._requested.pop(conversation)
            self._sent_times[conversation] = now
            self._not_before.pop(conversation, None)
        return ready

    def next_due_time(self) -> float | None:
        """Return the time of the earliest postponed fetch; None: none is postponed, or too many are in flight."""
        if len(self._in_flight) >= self.max_in_flight:
            return None
        due_times = [time for each, time in self._not_before.items() if each in self._requested]
        return min(due_times, default=None)

    def complete_fetch(self, conversation: str) -> None:
        """End a fetch that reached the head of the log."""
        self._sent_times.pop(conversation, None)
        for each in self._in_flight.pop(conversation, ()):
            each.remaining.discard(conversation)

    def retry_fetch(self, conversation: str, not_before: float = 0.0) -> None:
        """Request a fetch again that did not reach the head or failed temporarily."""
        self._sent_times.pop(conversation, None)
        self._requested.setdefault(conversation, set()).update(self._in_flight.pop(conversation, ()))
        if not_before:
            self._not_before[conversation] = not_before

    def pop_finished_rounds(self) -> list[CatchupRound]:
        """Remove and return the finished rounds, oldest first."""
        finished = []
        while self._rounds and self._rounds[0].complete and not self._rounds[0].remaining:
            finished.append(self._rounds.popleft())
        return finished
