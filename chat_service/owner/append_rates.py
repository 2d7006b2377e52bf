"""The rates at which conversations grow, counted a second at a time over the last WINDOW_S seconds."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from heapq import nlargest
from typing import Final

from servicekit.clock import Clock

WINDOW_S: Final = 10
# Conversations that are counted in one second. Beyond twice as many, all but this many of the busiest are forgotten.
MAX_COUNTED: Final = 4096


class AppendRates:
    """The entries that this owner appended to each conversation. It costs one addition a conversation and batch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # (second, entries by conversation) of the seconds with appends, the newest last.
        self._seconds: deque[tuple[int, dict[str, int]]] = deque()

    def count(self, appended: Iterable[tuple[str, int]]) -> None:
        """Count the entries of a batch, by conversation."""
        counts = self._current_counts()
        for conversation_id, entries in appended:
            counts[conversation_id] = counts.get(conversation_id, 0) + entries
        if len(counts) > 2 * MAX_COUNTED:
            kept = nlargest(MAX_COUNTED, counts.items(), key=lambda item: item[1])
            counts.clear()
            counts.update(kept)

    def list_highest(self, limit: int) -> list[tuple[str, float]]:
        """Return the conversations with the most entries, and their entries per second on average of the window."""
        oldest, totals = int(self._clock.monotonic()) - WINDOW_S, Counter[str]()
        for second, counts in self._seconds:
            if second > oldest:
                totals.update(counts)
        return [(conversation_id, entries / WINDOW_S) for conversation_id, entries in totals.most_common(limit)]

    def _current_counts(self) -> dict[str, int]:
        second = int(self._clock.monotonic())
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, {}))
            if len(self._seconds) > WINDOW_S:
                self._seconds.popleft()
        return self._seconds[-1][1]
