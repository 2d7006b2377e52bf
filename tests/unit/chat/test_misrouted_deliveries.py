"""Users of misrouted deliveries are rechecked at their homes once, after a delay."""

from __future__ import annotations

from chat_service.mesh.dispatch import RECHECK_DELAY_S, MisroutedDeliveries
from tests.clock import ManualClock

ALICE, BOB, CAROL = "a" * 32, "b" * 32, "c" * 32


def test_each_user_is_rechecked_once_after_the_delay() -> None:
    clock, rechecked = ManualClock(), list[str]()
    misrouted = MisroutedDeliveries(lambda user_id: user_id != CAROL, rechecked.append, clock)
    for user_id in (ALICE, BOB, ALICE, CAROL):
        misrouted.record(user_id)
    clock.advance(RECHECK_DELAY_S - 0.01)
    misrouted.record(BOB)
    assert rechecked == []
    clock.advance(0.01)
    assert sorted(rechecked) == [ALICE, BOB], "Carol's home is this server by now"
    misrouted.record(ALICE)
    clock.advance(RECHECK_DELAY_S - 0.005)
    assert len(rechecked) == 2, "an earlier delivery does not shorten the delay"
    clock.advance(0.005)
    assert rechecked[2:] == [ALICE]
    clock.advance(RECHECK_DELAY_S)
    assert len(rechecked) == 3
