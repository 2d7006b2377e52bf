"""A ring view that loses many members at once takes effect after a delay; every other view at once."""

import pytest

from servicekit.damping import Damping, is_drastic
from tests.clock import ManualClock

RING = "abcdef"


@pytest.mark.parametrize(
    ("count", "lost", "drastic"),
    [
        (0, 0, False),
        (1, 1, True),
        (2, 1, False),
        (2, 2, True),
        (3, 1, False),
        (3, 2, True),
        (6, 2, False),
        (6, 3, True),
    ],
)
def test_loss_of_over_a_third_or_of_all_members_is_drastic(count: int, lost: int, drastic: bool) -> None:
    assert is_drastic(RING[:count], RING[:lost]) is drastic


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def damping(clock: ManualClock) -> Damping[str]:
    return Damping(3.0, clock)


def admits(damping: Damping[str], view: str) -> bool:
    return damping.admit(view, view, RING)


@pytest.mark.parametrize("view", ["abcdef", "abcdefg", "abcde", "abcd", "abcdxy"])
def test_ordinary_view_takes_effect_at_once(damping: Damping[str], view: str) -> None:
    assert admits(damping, view)
    assert damping.remaining_s is None
    assert damping.take_due() is None


def test_drastic_view_takes_effect_once_after_the_delay(damping: Damping[str], clock: ManualClock) -> None:
    assert not admits(damping, "abc")
    clock.advance(2.9)
    assert damping.take_due() is None
    clock.advance(0.1)
    assert damping.remaining_s == 0.0
    assert damping.take_due() == "abc"
    assert damping.take_due() is None


def test_recent_losses_are_counted_together(damping: Damping[str], clock: ManualClock) -> None:
    assert damping.admit("bcdef", "bcdef", RING)
    clock.advance(1)
    assert damping.admit("cdef", "cdef", "bcdef")
    clock.advance(1)
    assert not damping.admit("def", "def", "cdef")
    assert damping.admit("acdef", "acdef", "cdef"), "no current member is lost"
    clock.advance(3)
    assert damping.admit("adef", "adef", "acdef")


def test_drastic_view_is_dropped_when_all_members_are_back(damping: Damping[str], clock: ManualClock) -> None:
    assert not admits(damping, "")
    assert not admits(damping, "abcde"), "a member that is not back yet must not be removed"
    assert admits(damping, "abcdef")
    clock.advance(10)
    assert damping.take_due() is None


def test_further_loss_restarts_the_delay_and_a_return_does_not(damping: Damping[str], clock: ManualClock) -> None:
    assert not admits(damping, "abc")
    clock.advance(2)
    assert not admits(damping, "ab")
    clock.advance(2)
    assert damping.take_due() is None
    assert not admits(damping, "abc")
    clock.advance(1)
    assert damping.take_due() == "abc"
