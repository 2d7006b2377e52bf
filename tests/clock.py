"""A manual clock: tests advance it, and it replaces the machine's clock."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from servicekit.clock import Timer


class ManualClock:
    """A clock that stands still until it is advanced. Timers fire, and sleepers wake, only in `advance`."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self._start_ms = now_ms
        self._monotonic = 0.0
        # Ordered by due time, then by order of creation.
        self._timers: list[tuple[float, int, _ManualTimer]] = []
        self._number = count()

    def now_ms(self) -> int:
        """Return the milliseconds since 1970."""
        return self._start_ms + round(self._monotonic * 1000)

    def monotonic(self) -> float:
        """Return the seconds since the clock was created."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was advanced by `seconds`."""
        woken = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self.call_later(seconds, wake)
        try:
            await woken
        finally:
            timer.cancel()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` when the clock was advanced by `seconds`, unless the timer is cancelled first."""
        timer = _ManualTimer(callback)
        heapq.heappush(self._timers, (self._monotonic + seconds, next(self._number), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Advance the clock by `seconds` and fire each timer that becomes due, at its due time and in order.

        Sleepers wake: their tasks continue when the caller yields to the event loop.
        """
        until = self._monotonic + seconds
        while self._timers and self._timers[0][0] <= until:
            due, _, timer = heapq.heappop(self._timers)
            self._monotonic = max(self._monotonic, due)
            timer.fire()
        self._monotonic = until


class _ManualTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()
