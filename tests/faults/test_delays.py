"""The delays of deliveries are computed from the journal: per device, from the first arrival, without the sender's."""

from __future__ import annotations

import pytest

from tests.faults.delays import delivery_delays, describe_delays, percentile
from tests.faults.journal import Given, Journal, Line, Send

CHAT = "chat"


def given(device: str, text: str, at: float) -> Given:
    return Given(device, CHAT, Line(2, "alice", text), at)


@pytest.fixture
def journal() -> Journal:
    journal = Journal(users={"phone": "alice", "laptop": "alice", "tablet": "bob"})
    journal.sends += [Send("phone", 0, CHAT, "one", 10.0), Send("phone", 1, CHAT, "two", 20.0)]
    journal.given += [
        given("phone", "one", 10.1),
        given("laptop", "one", 10.5),
        given("tablet", "one", 11.0),
        # Once more, after a reconnection.
        given("tablet", "one", 15.0),
        given("tablet", "two", 24.0),
    ]
    return journal


def test_delays_are_those_of_the_first_arrivals_at_other_devices(journal: Journal) -> None:
    assert sorted(delivery_delays(journal)) == [(10.0, 0.5), (10.0, 1.0), (20.0, 4.0)]


def test_changes_of_members_are_no_deliveries(journal: Journal) -> None:
    journal.given.append(Given("tablet", CHAT, Line(1, "alice", None, (("bob", True),)), 9.0))
    assert len(delivery_delays(journal)) == 3


def test_parts_of_a_run_are_described_one_by_one(journal: Journal) -> None:
    assert describe_delays(journal, [(5.0, "before"), (15.0, "restart")]).splitlines() == [
        "before: 2 deliveries, 0.50 s, 99 % in 0.50 s, all in 1.00 s",
        "restart: 1 deliveries, 4.00 s, 99 % in 4.00 s, all in 4.00 s",
    ]


def test_percentile_is_a_value_that_few_exceed() -> None:
    assert percentile([], 0.99) == 0.0
    assert percentile(list(range(101)), 0.99) == 99
    assert percentile([3.0, 1.0, 2.0], 1.0) == 3.0
