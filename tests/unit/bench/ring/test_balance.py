"""The balance and the movement of the ring, against shares that are counted one by one."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.ring.balance import create_members, create_ring, list_owners, measure_balance, measure_movement
from servicekit.ring import Ring


@given(st.integers(1, 12), st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_shares_are_those_of_the_owners_of_many_positions(servers: int, virtual_nodes: int) -> None:
    ring, samples = create_ring(servers, virtual_nodes), 1 << 12
    counts = Counter(list_owners(ring, samples))
    for name, share in ring.shares().items():
        # An arc has at most one position more or less than its width.
        assert counts[name] == pytest.approx(share * samples, abs=virtual_nodes + 1)
    assert sum(ring.shares().values()) == pytest.approx(1)


def test_shares_of_no_members_and_of_one() -> None:
    assert Ring.from_members([], 1).shares() == {}
    assert Ring.from_members(create_members(1), 1).shares() == {"chat-0": 1.0}


def test_more_virtual_nodes_are_more_even() -> None:
    few, many = measure_balance(30, 16), measure_balance(30, 512)
    assert many.deviation < few.deviation / 2
    assert few.least < many.least < 1 < many.greatest < few.greatest


def test_balance_of_the_product_stays_within_what_the_page_says() -> None:
    balance = measure_balance(100)
    assert balance.virtual_nodes == 128
    assert 0.75 < balance.least < 1 < balance.greatest < 1.3


@given(st.integers(2, 40))
@settings(max_examples=10, deadline=None)
def test_only_keys_of_the_leaver_and_for_the_newcomer_move(servers: int) -> None:
    movement = measure_movement(servers, samples=1 << 10)
    assert movement.astray == 0
    assert sum(movement.heirs.values()) == pytest.approx(1)
    assert len(movement.heirs) <= min(servers - 1, 128)
    assert 0 < movement.joined < 2 * movement.ideal_joined
    assert 0 < movement.left < 2 * movement.ideal_left


def test_every_device_gets_an_heir_by_its_share() -> None:
    movement = measure_movement(10, samples=1 << 10)
    homes = Counter(movement.assign_heirs(5000))
    assert sum(homes.values()) == 5000
    for name, share in movement.heirs.items():
        assert homes[name] == pytest.approx(share * 5000, abs=1)
