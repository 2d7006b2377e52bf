"""Delays have full jitter within bounds, and the send rate stays within the server's limit."""

from hypothesis import given
from hypothesis import strategies as st

from parley_client.backoff import MAX_DELAY_S, Backoff
from parley_client.send_pacer import RATE_FRACTION, SendPacer


@given(st.integers(0, 2000), st.floats(0, 1), st.none() | st.floats(0, 60))
def test_delay_is_jittered_capped_and_at_least_as_requested(attempts: int, jitter: float, asked: float | None) -> None:
    backoff = Backoff(jitter=lambda: jitter)
    backoff.attempts = attempts
    assert (asked or 0) <= backoff.next(asked) <= (asked or 0) + MAX_DELAY_S


def test_delays_double_until_success() -> None:
    backoff = Backoff(jitter=lambda: 1.0)
    assert [backoff.next() for _ in range(4)] == [0.1, 0.2, 0.4, 0.8]
    backoff.reset()
    assert backoff.next() == 0.1


@given(st.lists(st.floats(0, 2), max_size=200))
def test_send_rate_never_exceeds_server_limit(gaps: list[float]) -> None:
    pacing, now, sent = SendPacer(20, 60), 0.0, list[float]()
    for gap in gaps:
        now += gap
        while pacing.try_acquire(now):
            sent.append(now)
    for i, begin in enumerate(sent):
        within = sent[i:]
        for count, end in enumerate(within, start=1):
            assert count <= 60 + 20 * (end - begin)


def test_wait_ends_when_a_send_is_allowed() -> None:
    pacing = SendPacer(20, 60)
    while pacing.try_acquire(0.0):
        pass
    wait = pacing.time_until_available(0.0)
    assert 0 < wait <= 1 / (20 * RATE_FRACTION)
    assert pacing.try_acquire(wait + 0.001)


def test_rate_limit_refusal_empties_the_bucket() -> None:
    pacing = SendPacer(20, 60)
    pacing.empty()
    assert not pacing.try_acquire(0.0)
