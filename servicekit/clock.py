"""Clocks as arguments: the protocol, and the clock of the machine."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

CallLater = Callable[[float, Callable[[], None]], object]
"""Schedules a call after some seconds."""


class Timer(Protocol):
    """A scheduled callback."""

    def cancel(self) -> None:
        """Cancel the callback; do nothing if it has run."""


class Clock(Protocol):
    """A source of wall-clock time and monotonic time, and a scheduler on the monotonic time."""

    def now_ms(self) -> int:
        """Return the wall-clock time in milliseconds since 1970; it may jump."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; they never decrease."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` after `seconds` unless the timer is cancelled first. Requires a running event loop."""


class SystemClock:
    """The clock of the machine."""

    def now_ms(self) -> int:
        """Return the wall-clock time in milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds since the machine started."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` after `seconds` unless the timer is cancelled first."""
        return asyncio.get_running_loop().call_later(seconds, callback)
