"""Tries are counted by key, and the keys are bounded."""

import pytest

from chat_service.accounts.attempts import RateLimit, RateLimiter
from chat_service.errors import RateLimited
from tests.clock import ManualClock


def test_a_key_that_tried_too_often_waits_and_others_do_not() -> None:
    clock = ManualClock()
    attempts = RateLimiter(RateLimit(rate=0.1, burst=2), clock)
    attempts.take("alice")
    attempts.take("alice")
    with pytest.raises(RateLimited) as caught:
        attempts.take("alice")
    assert caught.value.retry_after == pytest.approx(10)
    attempts.take("bob")
    clock.advance(10)
    attempts.take("alice")


def test_no_more_keys_than_told() -> None:
    attempts = RateLimiter(RateLimit(rate=0.1, burst=1), ManualClock(), keys=2)
    for key in ("alice", "bob", "carol"):
        attempts.take(key)
    attempts.take("alice")
    with pytest.raises(RateLimited):
        attempts.take("carol")
