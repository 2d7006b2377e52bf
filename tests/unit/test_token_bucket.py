"""The token bucket gives a burst at once, then its rate, and says how long to wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.rate_limiter import TokenBucket
from tests.clock import ManualClock


def test_a_burst_then_the_rate() -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate=2, burst=3, clock=clock)
    assert [bucket.take() for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    clock.advance(0.5)
    assert [bucket.take(), bucket.take()] == [0.0, 0.5]


def test_a_refusal_takes_nothing() -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate=1, burst=2, clock=clock)
    bucket.take()
    assert bucket.take(2) == 1.0
    assert bucket.take() == 0.0


def test_it_never_holds_more_than_its_burst() -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate=10, burst=1, clock=clock)
    clock.advance(3600)
    assert bucket.take() == 0.0
    assert bucket.take() > 0.0


def test_what_never_fits_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="exceed the burst"):
        TokenBucket(rate=1, burst=2, clock=ManualClock()).take(3)


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=50), st.floats(min_value=0.1, max_value=50))
def test_never_more_than_burst_plus_rate_times_time(pauses: list[float], rate: float) -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate=rate, burst=5, clock=clock)
    taken = 0
    for pause in pauses:
        clock.advance(pause)
        while bucket.take() == 0.0:
            taken += 1
    assert taken <= 5 + rate * clock.monotonic() + 1e-6
