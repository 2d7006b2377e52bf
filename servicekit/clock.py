"""Time as an argument, and the clock of the machine."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day and the time that only moves forward."""

    def now_ms(self) -> int:
        """Milliseconds since 1970; may jump."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes backwards."""


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds since the machine started."""
        return time.monotonic()
