"""The share of sends that were answered in time, apart from faults."""

from __future__ import annotations

import pytest

from tests.faults.assessment import IN_TIME_S, WELL_AFTER_S, answered_share
from tests.faults.journal import Journal, Send, Struck


def send_at(at: float, answered_after: float | None) -> Send:
    return Send("phone", 1, "r" * 32, "text", at, answered_at=None if answered_after is None else at + answered_after)


def test_share_is_zero_without_a_strike() -> None:
    assert answered_share(Journal(sends=[send_at(100.0, 0.1)])) == 0.0


def test_share_counts_the_sends_well_after_a_fault_and_before_the_next_one() -> None:
    struck = [Struck("first", 10.0, 20.0, 0), Struck("second", 100.0, 110.0, 0)]
    sends = [
        send_at(20.0 + WELL_AFTER_S - 1, None),
        send_at(20.0 + WELL_AFTER_S + 1, 0.1),
        send_at(20.0 + WELL_AFTER_S + 2, IN_TIME_S + 1),
        send_at(100.0 - IN_TIME_S + 1, None),
        send_at(110.0 + WELL_AFTER_S + 1, None),
        send_at(110.0 + WELL_AFTER_S + 2, 0.1),
    ]
    assert answered_share(Journal(sends=sends, struck=struck)) == pytest.approx(2 / 4)
