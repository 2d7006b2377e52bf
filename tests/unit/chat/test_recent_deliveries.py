"""An owner keeps what it sent to homes lately, and gives out what a lost home may not have queued."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chat_service.mesh.recent_deliveries import KEPT_S, MAX_KEPT, RecentDeliveries
from chat_service.model.delivery import DeliveredEntry, Delivery
from tests.clock import ManualClock

ALICE, BOB, CAROL = "a" * 32, "b" * 32, "c" * 32


def delivery(number: int) -> Delivery:
    return Delivery(entries=(DeliveredEntry(str(number).encode(), ALICE, b""),))


def taken(recent: RecentDeliveries, is_reachable: Callable[[str], bool]) -> list[tuple[list[str], Delivery]]:
    return [(list(users), sent.delivery) for users, sent in recent.take_lost(is_reachable)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def recent(clock: ManualClock) -> RecentDeliveries:
    return RecentDeliveries(clock)


def test_lost_home_gives_its_deliveries_once(recent: RecentDeliveries) -> None:
    recent.add({"one": [ALICE], "two": [BOB, CAROL]}, delivery(1))
    recent.add({"two": [BOB]}, delivery(2))
    recent.add({"three": [CAROL]}, delivery(3))
    assert taken(recent, lambda _: True) == []
    recent.mark_lost("two")
    assert taken(recent, lambda _: True) == [([BOB, CAROL], delivery(1)), ([BOB], delivery(2))]
    assert taken(recent, lambda _: True) == []


def test_home_that_cannot_be_reached_waits(recent: RecentDeliveries) -> None:
    recent.add({"one": [ALICE], "two": [BOB]}, delivery(1))
    recent.mark_lost("one")
    recent.mark_lost("two")
    assert taken(recent, lambda home: home == "two") == [([BOB], delivery(1))]
    recent.add({"one": [CAROL]}, delivery(2))
    assert taken(recent, lambda _: True) == [([ALICE], delivery(1)), ([CAROL], delivery(2))]


def test_loss_of_the_queue_gives_the_deliveries_of_all_homes(recent: RecentDeliveries) -> None:
    recent.add({"one": [ALICE]}, delivery(1))
    recent.add({"two": [BOB]}, delivery(2))
    recent.mark_all_lost()
    assert taken(recent, lambda _: True) == [([ALICE], delivery(1)), ([BOB], delivery(2))]


def test_users_of_two_lost_homes_get_one_delivery(recent: RecentDeliveries) -> None:
    recent.add({"one": [ALICE], "two": [BOB], "three": [CAROL]}, delivery(1))
    recent.mark_lost("one")
    recent.mark_lost("two")
    [(users, found)] = taken(recent, lambda _: True)
    assert (sorted(users), found) == ([ALICE, BOB], delivery(1))


def test_old_deliveries_are_dropped(recent: RecentDeliveries, clock: ManualClock) -> None:
    recent.add({"one": [ALICE]}, delivery(1))
    clock.advance(KEPT_S - 1)
    recent.add({"one": [ALICE]}, delivery(2))
    clock.advance(2)
    recent.mark_lost("one")
    assert taken(recent, lambda _: True) == [([ALICE], delivery(2))]


def test_number_of_deliveries_is_bounded(recent: RecentDeliveries) -> None:
    for number in range(MAX_KEPT + 1):
        recent.add({"one": [ALICE]}, delivery(number))
    recent.mark_lost("one")
    found = taken(recent, lambda _: True)
    assert (len(found), found[0]) == (MAX_KEPT, ([ALICE], delivery(1)))


def test_delivery_that_was_not_sent_is_given_once_its_home_is_reachable(recent: RecentDeliveries) -> None:
    recent.add_unsent("one", [ALICE], delivery(1))
    assert taken(recent, lambda _: False) == []
    assert taken(recent, lambda _: True) == [([ALICE], delivery(1))]
    assert taken(recent, lambda _: True) == []


def test_delivery_that_was_offered_again_ages_from_its_first_time(recent: RecentDeliveries, clock: ManualClock) -> None:
    recent.add({"one": [ALICE]}, delivery(1))
    clock.advance(KEPT_S - 1)
    recent.mark_lost("one")
    [(users, sent)] = recent.take_lost(lambda _: True)
    recent.add({"two": users}, sent.delivery, sent.sent_at)
    recent.mark_lost("one")
    recent.mark_lost("two")
    assert taken(recent, lambda _: True) == [([ALICE], delivery(1))], "it is at its new home alone"
    recent.add_unsent("two", users, sent.delivery, sent.sent_at)
    clock.advance(2)
    assert taken(recent, lambda _: True) == []
