"""Time as an argument, and the clock of the machine."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A callback that is due at a later time."""

    def cancel(self) -> None:
        """Drop the callback, unless it ran already."""


class Clock(Protocol):
    """Tells the time of day and the time that only moves forward, and schedules by the latter."""

    def now_ms(self) -> int:
        """Milliseconds since 1970; may jump."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes backwards."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` after `seconds`, unless the timer is cancelled first. Needs a running event loop."""


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds since the machine started."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` after `seconds`, unless the timer is cancelled first."""
        return asyncio.get_running_loop().call_later(seconds, callback)
