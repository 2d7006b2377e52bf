"""Rates are limited per key, and the number of keys is bounded."""

import pytest

from servicekit.rate_limiter import RateLimit, RateLimiter
from tests.clock import ManualClock


def test_key_over_its_limit_waits_and_others_do_not() -> None:
    clock = ManualClock()
    limiter = RateLimiter(RateLimit(rate=0.1, burst=2), clock, max_keys=10)
    assert limiter.take("alice") == 0
    assert limiter.take("alice") == 0
    assert limiter.take("alice") == pytest.approx(10)
    assert limiter.take("bob") == 0
    clock.advance(10)
    assert limiter.take("alice") == 0


def test_beyond_max_keys_the_least_recently_used_key_starts_over() -> None:
    limiter = RateLimiter(RateLimit(rate=0.1, burst=1), ManualClock(), max_keys=2)
    for key in ("alice", "bob", "carol"):
        assert limiter.take(key) == 0
    assert limiter.take("alice") == 0
    assert limiter.take("carol") > 0
