"""The exponential back-off between attempts."""

from servicekit.tasks import Backoff


def test_delays_double_up_to_the_maximum() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_reset_starts_again_at_the_first_delay() -> None:
    backoff = Backoff(0.5, 3.0)
    for _ in range(3):
        backoff.next()
    backoff.reset()
    assert [backoff.next(), backoff.next()] == [0.5, 1.0]
