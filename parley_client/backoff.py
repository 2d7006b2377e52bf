"""Delays between attempts: exponential with full jitter, on top of the delay that the server asked for."""

from __future__ import annotations

import random
from collections.abc import Callable

BASE_DELAY_S = 0.1
MAX_DELAY_S = 10.0


class Backoff:
    """A sequence of delays in seconds. `jitter` returns a number from 0 to 1; tests pass their own."""

    def __init__(
        self,
        base: float = BASE_DELAY_S,
        cap: float = MAX_DELAY_S,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._base = base
        self._cap = cap
        self._jitter = jitter
        self.attempts = 0

    def next(self, retry_after_s: float | None = None) -> float:
        """Return the delay before the next attempt: `retry_after_s` (the server's RetryInfo) plus a jittered delay."""
        # The exponent is bounded: after weeks of attempts the power would overflow a float.
        ceiling = min(self._cap, self._base * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return (retry_after_s or 0.0) + self._jitter() * ceiling

    def reset(self) -> None:
        """Return to the shortest delay, after a successful attempt."""
        self.attempts = 0
