"""The token bucket: how much may happen at once, and how much in the long run."""

from __future__ import annotations

from servicekit.clock import Clock


class TokenBucket:
    """Holds up to `burst` tokens, full at first, and gains `rate` tokens a second."""

    __slots__ = ("_burst", "_clock", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        if rate <= 0 or burst <= 0:
            raise ValueError("a token bucket needs a rate and a burst above zero")
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._clock = clock
        self._filled_at = clock.monotonic()

    def take(self, n: float = 1) -> float:
        """Takes `n` tokens and returns 0.0, or takes none and returns the seconds until there are `n`.

        Raises ValueError when `n` is more than the bucket can ever hold.
        """
        if n > self._burst:
            raise ValueError(f"{n} tokens never fit into a bucket of {self._burst}")
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens >= n:
            self._tokens -= n
            return 0.0
        return (n - self._tokens) / self._rate
