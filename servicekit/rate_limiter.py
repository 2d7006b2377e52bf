"""Token buckets: how much may happen at once, and how much in the long run, for one key or for many."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from servicekit.clock import Clock


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`burst` tokens at once, and `rate` a second in the long run."""

    rate: float
    burst: float


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
        """Take `n` tokens and return 0.0, or take none and return the seconds until there are `n`.

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


class RateLimiter:
    """One token bucket per key, for at most `max_keys` keys: the least recently used starts over."""

    def __init__(self, limit: RateLimit, clock: Clock, max_keys: int) -> None:
        self._limit = limit
        self._clock = clock
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def bucket_of(self, key: str) -> TokenBucket:
        """Return the bucket of `key`, a full one for a new key."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = TokenBucket(self._limit.rate, self._limit.burst, self._clock)
            self._buckets[key] = bucket
            if len(self._buckets) > self._max_keys:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return bucket

    def take(self, key: str) -> float:
        """Take a token of `key` and return 0.0, or take none and return the seconds until there is one."""
        return self.bucket_of(key).take()
