"""Rate limits as token buckets, for one key or for many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from servicekit.clock import Clock

# Devices for which a server keeps a rate limit in memory.
MAX_DEVICES: Final = 100_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A rate limit: `rate` tokens a second on average, and up to `burst` tokens at once."""

    rate: float
    burst: float


class TokenBucket:
    """A bucket of up to `burst` tokens that is full at first and gains `rate` tokens a second."""

    __slots__ = ("_burst", "_clock", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        if rate <= 0 or burst <= 0:
            raise ValueError("rate and burst of a token bucket must be above zero")
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._clock = clock
        self._filled_at = clock.monotonic()

    def take(self, n: float = 1) -> float:
        """Take `n` tokens and return 0.0, or take none and return the seconds until `n` are available.

        Raises ValueError if `n` exceeds the burst.
        """
        if n > self._burst:
            raise ValueError(f"{n} tokens exceed the burst of {self._burst}")
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens >= n:
            self._tokens -= n
            return 0.0
        return (n - self._tokens) / self._rate


class RateLimiter:
    """A token bucket per key, for at most `max_keys` keys; beyond that the least recently used bucket is dropped."""

    def __init__(self, limit: RateLimit, clock: Clock, max_keys: int) -> None:
        self._limit = limit
        self._clock = clock
        self._buckets: LRUCache[str, TokenBucket] = LRUCache(max_keys)

    def bucket_of(self, key: str) -> TokenBucket:
        """Return the bucket of `key`; a new key gets a full one."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._limit.rate, self._limit.burst, self._clock)
        return bucket

    def take(self, key: str) -> float:
        """Take a token of `key` and return 0.0, or take none and return the seconds until one is available."""
        return self.bucket_of(key).take()
