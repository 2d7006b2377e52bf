"""The token bucket allows a burst, then its rate, and returns the delay until the next token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.rate_limiter import TokenBucket
from tests.clock import ManualClock


def test_burst_is_allowed_then_rate_applies() -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate=2, burst=3, clock=clock)
    assert [bucket.take() for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    clock.advance(0.5)
    assert [bucket.take(), bucket.take()] == [0.0, 0.5]


def test_refused_take_consumes_no_tokens() -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate=1, burst=2, clock=clock)
    bucket.take()
    assert bucket.take(2) == 1.0
    assert bucket.take() == 0.0


def test_bucket_never_exceeds_its_burst() -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate=10, burst=1, clock=clock)
    clock.advance(3600)
    assert bucket.take() == 0.0
    assert bucket.take() > 0.0


def test_take_beyond_burst_raises_value_error() -> None:
    with pytest.raises(ValueError, match="exceed the burst"):
        TokenBucket(rate=1, burst=2, clock=ManualClock()).take(3)


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=50), st.floats(min_value=0.1, max_value=50))
def test_tokens_never_exceed_burst_plus_rate_times_time(pauses: list[float], rate: float) -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate=rate, burst=5, clock=clock)
    taken = 0
    for pause in pauses:
        clock.advance(pause)
        while bucket.take() == 0.0:
            taken += 1
    assert taken <= 5 + rate * clock.monotonic() + 1e-6
