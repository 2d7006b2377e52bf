"""Privacy: users block others, restrict group invitations, and hide from searches."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

import pytest

from parley.chat.v1 import account_pb2, conversation_pb2
from tests.raw.device import RawDevice, new_id
from tests.raw.world import World

pytestmark = pytest.mark.scenario

BLOCKED = ("PERMISSION_DENIED", "BLOCKED")


def block(user: RawDevice) -> account_pb2.BlockUserRequest:
    return account_pb2.BlockUserRequest(user_id=user.user_id)


def unblock(user: RawDevice) -> account_pb2.UnblockUserRequest:
    return account_pb2.UnblockUserRequest(user_id=user.user_id)


def group_with(others: Sequence[RawDevice]) -> conversation_pb2.CreateGroupRequest:
    members = [each.user_id for each in others]
    return conversation_pb2.CreateGroupRequest(request_id=new_id(), title="Friday", member_ids=members)


def only(rule: account_pb2.WhoMayAdd.ValueType) -> account_pb2.UpdatePrivacyRequest:
    return account_pb2.UpdatePrivacyRequest(who_may_add=rule)


async def test_answered_block_applies_on_every_owner(world: World) -> None:
    for owner in world.servers:
        alice, bob = await world.pair(owner, world.servers[0])
        for edge in world.servers:
            await alice.connect(at=edge)
            await bob.connect(at=world.servers[1])
            conversation = await alice.direct(bob)
            await bob.sent(conversation, "hello")
            await alice.call(block(bob), at=edge)
            for one in (bob, alice):
                assert (await one.refused(conversation, "hello?")).code_and_reason == BLOCKED
            await alice.call(unblock(bob), at=edge)
            await bob.sent(conversation, "hello again")


async def test_concurrent_send_precedes_block_or_is_refused(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    conversation = await alice.direct(bob)
    await alice.connect()
    await bob.connect()
    keys = [await bob.send(conversation, str(number)) for number in range(20)]
    await alice.has_all(conversation, 2)
    await alice.call(block(bob))
    head = (await alice.call(conversation_pb2.GetConversationRequest(conversation_id=conversation))).conversation
    keys += [await bob.send(conversation, "late") for _ in range(5)]
    answers = [await bob.next_result(key) for key in keys]
    taken = [each.appended.seq for each in answers if each.HasField("appended")]
    assert taken
    assert taken == list(range(2, 2 + len(taken)))
    assert all(seq <= head.head_seq for seq in taken)
    assert all(each.HasField("refused") for each in answers[20:])


async def test_blocked_user_cannot_start_conversation_and_still_sees_profile(world: World) -> None:
    alice, bob = await world.register("alice"), await world.register("bob")
    await alice.call(block(bob))
    begin = conversation_pb2.GetOrCreateDirectRequest(peer_id=alice.user_id)
    assert (await bob.refusal(begin)).code_and_reason == BLOCKED
    profile = (await bob.call(account_pb2.GetProfileRequest(user_id=alice.user_id))).profile
    found = (await bob.call(account_pb2.SearchUsersRequest(query=profile.login_name))).profiles
    assert list(found) == [profile]
    assert (await bob.refusal(group_with([alice]))).code_and_reason == BLOCKED
    await alice.call(unblock(bob))
    await bob.call(begin)


async def test_block_does_not_apply_in_shared_group(world: World) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    group = await carol.group("Friday", [alice, bob])
    await alice.connect()
    await bob.connect()
    await alice.call(block(bob))
    await bob.sent(group, "hello all")
    await alice.has(group, "hello all")


async def test_blocked_users_are_listed_in_pages(world: World) -> None:
    alice, *others = await world.users("alice", "bob", "carol", "dave", "erin", "frank")
    await asyncio.gather(*(alice.call(block(other)) for other in others))
    listed: list[str] = []
    token = ""
    while not listed or token:
        page = await alice.call(account_pb2.ListBlockedRequest(page_size=2, page_token=token))
        listed += page.user_ids
        token = page.next_page_token
    assert listed == sorted(other.user_id for other in others)
    bad = account_pb2.ListBlockedRequest(page_token="nonsense")
    assert (await alice.refusal(bad)).code_and_reason == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def test_blocking_oneself_or_unknown_user_is_refused(world: World) -> None:
    alice = await world.user("alice")
    refusal = await alice.refusal(block(alice))
    assert (refusal.code_and_reason, refusal.fields) == (("INVALID_ARGUMENT", "FIELD_INVALID"), ("user_id",))
    unknown = account_pb2.BlockUserRequest(user_id=uuid.uuid4().hex)
    assert (await alice.refusal(unknown)).code_and_reason == ("NOT_FOUND", "USER_NOT_FOUND")


async def test_who_may_add_setting_limits_group_invitations(world: World) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    group = await alice.group("Friday", [carol])
    add = conversation_pb2.AddMembersRequest(conversation_id=group, member_ids=[bob.user_id], request_id=new_id())
    await bob.call(only(account_pb2.WHO_MAY_ADD_NOBODY))
    assert (await alice.refusal(add)).code_and_reason == BLOCKED
    assert (await alice.refusal(group_with([carol, bob]))).code_and_reason == BLOCKED
    await bob.call(only(account_pb2.WHO_MAY_ADD_CONTACTS))
    direct = await alice.direct(bob)
    assert (await alice.refusal(add)).code_and_reason == BLOCKED, "that alice began is not bob's doing"
    await bob.connect()
    await bob.sent(direct, "hello alice")
    await alice.call(add)
    privacy = (await bob.call(account_pb2.GetPrivacyRequest())).privacy
    assert privacy == account_pb2.Privacy(who_may_add=account_pb2.WHO_MAY_ADD_CONTACTS, found_by_search=True)


async def test_hidden_user_is_not_found_by_search(world: World) -> None:
    alice, bob = await world.register("alice"), await world.user("bob")
    name = (await alice.call(account_pb2.GetProfileRequest())).profile.login_name
    almost = account_pb2.SearchUsersRequest(query=name[:-1])
    assert [each.login_name for each in (await bob.call(almost)).profiles] == [name]
    await alice.call(account_pb2.UpdatePrivacyRequest(found_by_search=False))
    assert not (await bob.call(almost)).profiles
    whole = account_pb2.SearchUsersRequest(query=name.upper())
    assert [each.login_name for each in (await bob.call(whole)).profiles] == [name]
