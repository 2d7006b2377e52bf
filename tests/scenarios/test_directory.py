"""The directory for the other services: memberships, members, devices and relations, as of this moment."""

from __future__ import annotations

import uuid

import grpc
import pytest
from google.protobuf.message import Message

from parley.chat.v1 import account_pb2, conversation_pb2
from parley.internal.v1 import directory_pb2
from servicekit.auth import CREDENTIAL_HEADER
from tests.raw import directory as raw
from tests.raw.device import RawDevice, new_id
from tests.raw.directory import Directory
from tests.raw.world import World

pytestmark = pytest.mark.scenario

UNKNOWN = "0f" * 16
REQUESTS: list[Message] = [
    directory_pb2.CheckMembershipRequest(conversation_id=UNKNOWN, user_id=UNKNOWN),
    directory_pb2.CheckMediaAccessRequest(user_id=UNKNOWN, media_id=UNKNOWN),
    directory_pb2.ListMediaReferencesRequest(media_ids=[UNKNOWN]),
    directory_pb2.DescribeForegroundRequest(user_id=UNKNOWN),
    directory_pb2.GetRelationsRequest(user_id=UNKNOWN, other_user_ids=[UNKNOWN]),
    directory_pb2.BatchGetRelationsRequest(
        requests=[directory_pb2.GetRelationsRequest(user_id=UNKNOWN, other_user_ids=["f0" * 16])]
    ),
    directory_pb2.DescribeConversationRequest(
        conversation_id=UNKNOWN, sender_id=UNKNOWN, recipient_ids=[UNKNOWN, "f0" * 16]
    ),
    directory_pb2.CheckDevicesRequest(user_id=UNKNOWN, device_ids=[UNKNOWN]),
    directory_pb2.ListMembersRequest(conversation_id=UNKNOWN),
    directory_pb2.FindUserRequest(login_name="nobody-of-this-name"),
]


@pytest.fixture
def directory(world: World) -> Directory:
    return Directory(world)


def relation(**flags: bool) -> directory_pb2.Relation:
    return directory_pb2.Relation(**flags)  # type: ignore[arg-type]  # flags are never other_user_id


def add(group: str, *who: RawDevice) -> conversation_pb2.AddMembersRequest:
    ids = [each.user_id for each in who]
    return conversation_pb2.AddMembersRequest(request_id=new_id(), conversation_id=group, member_ids=ids)


def remove(group: str, who: RawDevice) -> conversation_pb2.RemoveMemberRequest:
    return conversation_pb2.RemoveMemberRequest(request_id=new_id(), conversation_id=group, user_id=who.user_id)


def test_requests_cover_every_method() -> None:
    assert {each.DESCRIPTOR.full_name for each in REQUESTS} == raw.METHODS.keys()


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.DESCRIPTOR.name)
async def test_call_without_valid_service_credential_is_refused(
    world: World, directory: Directory, request_: Message
) -> None:
    alice = await world.user("alice")
    missing, invalid = ("UNAUTHENTICATED", "TOKEN_MISSING"), ("UNAUTHENTICATED", "TOKEN_INVALID")
    assert (await directory.refusal(request_, ())).code_and_reason == missing
    assert (await directory.refusal(request_, alice.metadata)).code_and_reason == missing
    wrong = ((CREDENTIAL_HEADER, "x" * 43),)
    assert (await directory.refusal(request_, wrong)).code_and_reason == invalid


async def test_directory_is_not_served_to_users(world: World) -> None:
    alice = await world.user("alice")
    metadata = (*alice.metadata, *raw.credential_of(world.stack))
    for address in (world.stack.door, world.servers[0]):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await raw.call(world.channel(address), REQUESTS[0], metadata)
        assert refused.value.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND)


async def test_request_out_of_bounds_is_refused(directory: Directory) -> None:
    for request in (
        directory_pb2.CheckMembershipRequest(conversation_id="?", user_id=UNKNOWN),
        directory_pb2.GetRelationsRequest(user_id=UNKNOWN),
        directory_pb2.GetRelationsRequest(user_id=UNKNOWN, other_user_ids=[uuid.uuid4().hex for _ in range(1001)]),
        directory_pb2.BatchGetRelationsRequest(),
        directory_pb2.BatchGetRelationsRequest(requests=[directory_pb2.GetRelationsRequest(user_id=UNKNOWN)]),
        directory_pb2.ListMediaReferencesRequest(media_ids=[UNKNOWN, UNKNOWN]),
        directory_pb2.FindUserRequest(),
        directory_pb2.FindUserRequest(login_name="a" * 65),
    ):
        assert (await directory.refusal(request)).code_and_reason == ("INVALID_ARGUMENT", "FIELD_INVALID")


async def test_unknown_ids_are_no_errors(directory: Directory) -> None:
    membership, access, references, foreground, relations, batch, context, devices, members, user = [
        await directory.call(request) for request in REQUESTS
    ]
    assert membership == directory_pb2.CheckMembershipResponse()
    assert not access.allowed
    assert not references.referenced_media_ids
    assert foreground == directory_pb2.DescribeForegroundResponse()
    assert list(relations.relations) == [directory_pb2.Relation(other_user_id=UNKNOWN)]
    assert [list(each.relations) for each in batch.responses] == [[directory_pb2.Relation(other_user_id="f0" * 16)]]
    recipients = [directory_pb2.Recipient(user_id=each) for each in (UNKNOWN, "f0" * 16)]
    assert context == directory_pb2.DescribeConversationResponse(recipients=recipients)
    assert devices == directory_pb2.CheckDevicesResponse()
    assert members == directory_pb2.ListMembersResponse()
    assert user == directory_pb2.FindUserResponse()


async def test_user_is_found_by_the_login_name_in_any_case(world: World, directory: Directory) -> None:
    name = f"alice-{uuid.uuid4().hex[:8]}"
    alice = await world.listed_user(name, "Alice")
    for login_name in (name, name.upper()):
        found = await directory.call(directory_pb2.FindUserRequest(login_name=login_name))
        assert found.user_id == alice.user_id
    assert not (await directory.call(directory_pb2.FindUserRequest(login_name=name[:-1]))).user_id


async def test_membership_ends_with_removal(world: World, directory: Directory) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    group = await alice.group("Friday", [bob])
    assert await directory.membership(group, bob) == (True, [(1, 0)])
    assert await directory.membership(group, carol) == (False, [])
    await alice.connect()
    last = await alice.sent(group, "with bob")
    await alice.call(remove(group, bob))
    assert await directory.membership(group, bob) == (False, [(1, last + 1)])
    await alice.sent(group, "without bob")
    await alice.call(add(group, bob))
    for server in range(len(world.servers)):
        found = await Directory(world, server).membership(group, bob)
        assert found == (True, [(1, last + 1), (last + 3, 0)])


async def test_members_are_listed_in_order_and_paged(world: World, directory: Directory) -> None:
    alice, *others = await world.users("alice", "bob", "carol", "dave")
    group = await alice.group("Friday", others)
    members = sorted(each.user_id for each in (alice, *others))
    request = directory_pb2.ListMembersRequest(conversation_id=group)
    whole = await directory.call(request)
    assert (list(whole.user_ids), whole.next_page_token, whole.member_seq) == (members, "", 2)
    request.page_size = 3
    first = await directory.call(request)
    assert list(first.user_ids) == members[:3]
    request.page_token = first.next_page_token
    second = await directory.call(request)
    assert (list(second.user_ids), second.next_page_token) == (members[3:], "")
    request.conversation_id = await alice.direct(others[0])
    refused = await directory.refusal(request)
    assert refused.code_and_reason == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")
    await alice.call(remove(group, others[0]))
    after = await directory.call(directory_pb2.ListMembersRequest(conversation_id=group))
    assert others[0].user_id not in after.user_ids
    assert after.member_seq == 3


async def test_signed_out_device_is_not_active(world: World, directory: Directory) -> None:
    alice, bob = await world.users("alice", "bob")
    tablet = await world.add_device(alice)
    assert await directory.active_devices(alice, tablet, bob, alice) == [tablet.device_id, alice.device_id]
    await alice.call(account_pb2.RevokeDeviceRequest(device_id=tablet.device_id))
    assert await directory.active_devices(alice, tablet, alice) == [alice.device_id]
    await alice.call(account_pb2.LogoutRequest())
    assert await directory.active_devices(alice, tablet, alice) == []


async def test_stranger_does_not_become_acquainted_by_writing(world: World, directory: Directory) -> None:
    alice, bob = await world.users("alice", "bob")
    assert await directory.relation(alice, bob) == relation()
    await alice.group("Both in one group", [bob])
    assert await directory.relation(alice, bob) == relation()
    both = await bob.direct(alice)
    await bob.connect()
    await bob.sent(both, "I want to know you")
    assert await directory.relation(alice, bob) == relation(acquainted_by=True)
    assert await directory.relation(bob, alice) == relation(acquainted=True)
    await alice.connect()
    await alice.sent(both, "me too")
    assert await directory.relation(alice, bob) == relation(acquainted=True, acquainted_by=True)


async def test_block_is_told_in_both_directions_until_it_ends(world: World, directory: Directory) -> None:
    alice, bob = await world.users("alice", "bob")
    await alice.call(account_pb2.BlockUserRequest(user_id=bob.user_id))
    assert await directory.relation(alice, bob) == relation(blocks=True)
    assert await directory.relation(bob, alice) == relation(blocked_by=True)
    await alice.call(account_pb2.UnblockUserRequest(user_id=bob.user_id))
    assert await directory.relation(alice, bob) == relation()


async def test_relations_to_a_thousand_users_are_in_order_of_the_request(world: World, directory: Directory) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    await alice.direct(bob)
    await carol.direct(alice)
    strangers = [uuid.uuid4().hex for _ in range(997)]
    others = [*strangers[:500], carol.user_id, *strangers[500:], alice.user_id, bob.user_id]
    request = directory_pb2.GetRelationsRequest(user_id=alice.user_id, other_user_ids=others)
    relations = (await directory.call(request)).relations
    assert [each.other_user_id for each in relations] == others
    assert [each.other_user_id for each in relations if each.acquainted] == [bob.user_id]
    assert [each.other_user_id for each in relations if each.acquainted_by] == [carol.user_id]


async def test_relations_of_many_users_are_those_of_each(world: World, directory: Directory) -> None:
    alice, bob, carol = users = await world.users("alice", "bob", "carol")
    await alice.direct(bob)
    await carol.direct(alice)
    await bob.call(account_pb2.BlockUserRequest(user_id=carol.user_id))
    requests = [
        directory_pb2.GetRelationsRequest(
            user_id=user.user_id, other_user_ids=[each.user_id for each in users if each is not user]
        )
        for user in users
    ]
    batch = await directory.call(directory_pb2.BatchGetRelationsRequest(requests=requests))
    assert list(batch.responses) == [await directory.call(request) for request in requests]
    acquainted, acquainted_by = relation(acquainted=True), relation(acquainted_by=True)
    blocks, blocked_by = relation(blocks=True), relation(blocked_by=True)
    expected = [[acquainted, acquainted_by], [acquainted_by, blocks], [acquainted, blocked_by]]
    for response in batch.responses:
        for each in response.relations:
            each.ClearField("other_user_id")
    assert [list(response.relations) for response in batch.responses] == expected
