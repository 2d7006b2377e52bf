"""The busiest conversations of the last ten seconds are found, in bounded memory."""

from __future__ import annotations

import pytest

from chat_service.owner import append_rates
from chat_service.owner.append_rates import WINDOW_S, AppendRates
from tests.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def rates(clock: ManualClock) -> AppendRates:
    return AppendRates(clock)


def test_busiest_conversations_come_first(rates: AppendRates) -> None:
    rates.count([("quiet", 1), ("busy", 30)])
    rates.count([("busy", 20), ("middling", 10)])
    assert rates.list_highest(2) == [("busy", 5.0), ("middling", 1.0)]
    assert len(rates.list_highest(10)) == 3


def test_entries_count_for_the_window_and_no_longer(rates: AppendRates, clock: ManualClock) -> None:
    rates.count([("a", 10)])
    clock.advance(WINDOW_S - 1)
    rates.count([("a", 20)])
    assert rates.list_highest(1) == [("a", 3.0)]
    clock.advance(1)
    assert rates.list_highest(1) == [("a", 2.0)]
    clock.advance(WINDOW_S)
    assert rates.list_highest(1) == []


def test_old_seconds_are_dropped_while_entries_are_appended(rates: AppendRates, clock: ManualClock) -> None:
    for second in range(100):
        rates.count([(f"conversation {second}", 1)])
        clock.advance(1)
    assert len(rates._seconds) == WINDOW_S


def test_many_conversations_in_a_second_do_not_hide_the_busiest(
    rates: AppendRates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_rates, "MAX_COUNTED", 10)
    rates.count([("hot", 5)])
    for number in range(1000):
        rates.count([(f"conversation {number}", 1), ("hot", 1)])
        assert len(rates._seconds[-1][1]) <= 20
    assert rates.list_highest(1) == [("hot", 100.5)]
