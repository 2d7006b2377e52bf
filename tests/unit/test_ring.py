"""The ring assigns keys by its members alone, evenly, and moves as few as possible."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.ring import Ring, RingEmpty, RingMember

KEYS = [f"key-{i}".encode() for i in range(2000)]
names = st.sets(st.integers(0, 30), min_size=1, max_size=10)


def members(numbers: set[int]) -> list[RingMember]:
    return [RingMember(f"chat-{n}", f"127.0.0.1:{5000 + n}", f"127.0.0.1:{6000 + n}", 0) for n in numbers]


@given(names, names)
def test_updated_ring_equals_a_fresh_one(before: set[int], after: set[int]) -> None:
    updated = Ring.from_members(members(before), 1).with_members(members(after), 2)
    fresh = Ring.from_members(members(after), 2)
    assert [updated.owner(key) for key in KEYS[:200]] == [fresh.owner(key) for key in KEYS[:200]]


@given(names, st.integers(31, 40))
def test_keys_moved_by_a_join_move_to_the_new_member(before: set[int], newcomer: int) -> None:
    old, new = Ring.from_members(members(before), 1), Ring.from_members(members(before | {newcomer}), 2)
    for key in KEYS[:200]:
        assert new.owner(key) == old.owner(key) or new.owner(key).server_id == f"chat-{newcomer}"


def test_keys_are_spread_evenly() -> None:
    counts = Counter(Ring.from_members(members({1, 2, 3, 4}), 1).owner(key).server_id for key in KEYS)
    assert min(counts.values()) > len(KEYS) / 4 * 0.6


@given(names)
def test_shares_add_up_and_agree_with_the_owners_of_keys(numbers: set[int]) -> None:
    ring = Ring.from_members(members(numbers), 1)
    shares = ring.shares()
    assert shares.keys() == ring.members.keys()
    assert sum(shares.values()) == pytest.approx(1)
    counts = Counter(ring.owner(key).server_id for key in KEYS)
    assert all(abs(counts[name] / len(KEYS) - share) < 0.06 for name, share in shares.items())


def test_empty_ring_has_no_shares() -> None:
    assert Ring.from_members([], 1).shares() == {}


def test_empty_ring_raises_ring_empty() -> None:
    with pytest.raises(RingEmpty):
        Ring.from_members([], 1).owner(b"key")
