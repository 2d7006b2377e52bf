"""How often somebody may try: a token bucket for each key, for a bounded number of keys."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from chat_service.errors import RateLimited
from servicekit.bucket import TokenBucket
from servicekit.clock import Clock

KEYS = 10_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`burst` tries at once, and `rate` a second in the long run."""

    rate: float
    burst: float


class RateLimiter:
    """Counts tries by key. Of more than `keys` keys, the one that tried longest ago starts afresh."""

    def __init__(self, allowance: RateLimit, clock: Clock, keys: int = KEYS) -> None:
        self._allowance = allowance
        self._clock = clock
        self._keys = keys
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, key: str) -> None:
        """Counts a try of `key`. Raises RateLimited, with the seconds to wait, when it has none left."""
        wait = self._bucket(key).take()
        if wait > 0:
            raise RateLimited("too many attempts to sign in", retry_after=wait)

    def _bucket(self, key: str) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = TokenBucket(self._allowance.rate, self._allowance.burst, self._clock)
            self._buckets[key] = bucket
            if len(self._buckets) > self._keys:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return bucket
