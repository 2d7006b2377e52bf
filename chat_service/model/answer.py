"""What a sender is told: where the entry went, or why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from servicekit.failure import Failure


@dataclass(frozen=True, slots=True)
class Appended:
    """Durable at this seq; time in milliseconds since 1970."""

    seq: int
    time_ms: int


Answer = Appended | Failure
Reply = Callable[[Answer], None]
