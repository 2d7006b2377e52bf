"""How long to wait before the next attempt: exponential, with full jitter, and not less than was asked."""

from __future__ import annotations

import random
from collections.abc import Callable

BASE = 0.1
CAP = 10.0


class Backoff:
    """Delays in seconds. `jitter` gives a number from 0 to 1; tests pass their own."""

    def __init__(
        self,
        base: float = BASE,
        cap: float = CAP,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._base = base
        self._cap = cap
        self._jitter = jitter
        self.attempts = 0

    def next(self, asked: float | None = None) -> float:
        """The delay before the next attempt; `asked` is the server's RetryInfo, to which jitter is added."""
        # The exponent is bounded so that weeks of attempts do not make a number too large to be a float.
        ceiling = min(self._cap, self._base * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return (asked or 0.0) + self._jitter() * ceiling

    def reset(self) -> None:
        """Begin anew: the last attempt went well."""
        self.attempts = 0
