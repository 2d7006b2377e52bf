"""Ids that two servers derive independently and identically."""

from __future__ import annotations

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from chat_service.model.ids import conversation_position, direct_id, group_id, user_position
from servicekit.ring import Ring, RingMember

users = st.uuids().map(lambda value: value.hex)


@given(users, users)
def test_direct_id_is_symmetric(one: str, other: str) -> None:
    assert direct_id(one, other) == direct_id(other, one)
    assert len(bytes.fromhex(direct_id(one, other))) == 16


@given(users, users)
def test_direct_conversation_is_owned_by_the_home_of_one_member(one: str, other: str) -> None:
    ring = Ring.from_members([RingMember(f"chat-{n}", "", "", 0) for n in range(5)], 1)
    owner = ring.owner_at(conversation_position(direct_id(one, other)))
    assert owner == ring.owner_at(user_position(min(one, other)))


def test_direct_ids_of_one_user_differ() -> None:
    me = uuid4().hex
    assert len({direct_id(me, uuid4().hex) for _ in range(1000)}) == 1000


def test_same_request_derives_same_group_id() -> None:
    creator, request = uuid4().hex, str(uuid4())
    assert group_id(creator, request) == group_id(creator, request.upper())
    assert group_id(creator, request) != group_id(uuid4().hex, request)
