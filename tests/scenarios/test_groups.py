"""Groups: membership, roles, and the entries each member may see."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from parley.chat.v1 import chat_pb2, conversation_pb2, entry_pb2
from tests.raw.catalog import CatalogServer
from tests.raw.device import RawDevice, new_id
from tests.raw.refusal import of_error
from tests.raw.world import World

pytestmark = pytest.mark.scenario

NO_CONVERSATION = ("NOT_FOUND", "CONVERSATION_NOT_FOUND")
FORBIDDEN = ("PERMISSION_DENIED", "ROLE_INSUFFICIENT")
ADMIN, MEMBER = entry_pb2.ROLE_ADMIN, entry_pb2.ROLE_MEMBER


@dataclass
class Scenario:
    """Alice is the admin of a group with bob; carol and dave are not in it. All have their streams open."""

    world: World
    alice: RawDevice
    bob: RawDevice
    carol: RawDevice
    dave: RawDevice
    group: str

    async def members(self) -> dict[str, int]:
        """Return the roles of the members as alice sees them."""
        request = conversation_pb2.GetConversationRequest(conversation_id=self.group)
        found = (await self.alice.call(request)).conversation
        return {each.user_id: each.role for each in found.members}


@pytest.fixture
async def scenario(world: World) -> Scenario:
    alice, bob, carol, dave = await world.users("alice", "bob", "carol", "dave")
    for device in (alice, bob, carol, dave):
        await device.connect()
    return Scenario(world, alice, bob, carol, dave, await alice.group("Weather", [bob]))


def add(group: str, *who: RawDevice) -> conversation_pb2.AddMembersRequest:
    ids = [each.user_id for each in who]
    return conversation_pb2.AddMembersRequest(request_id=new_id(), conversation_id=group, member_ids=ids)


def remove(group: str, who: RawDevice) -> conversation_pb2.RemoveMemberRequest:
    return conversation_pb2.RemoveMemberRequest(request_id=new_id(), conversation_id=group, user_id=who.user_id)


def leave(group: str) -> conversation_pb2.LeaveGroupRequest:
    return conversation_pb2.LeaveGroupRequest(request_id=new_id(), conversation_id=group)


def role(group: str, who: RawDevice, role: entry_pb2.Role.ValueType) -> conversation_pb2.SetRoleRequest:
    return conversation_pb2.SetRoleRequest(request_id=new_id(), conversation_id=group, user_id=who.user_id, role=role)


def update(group: str, **what: object) -> conversation_pb2.UpdateConversationRequest:
    return conversation_pb2.UpdateConversationRequest(request_id=new_id(), conversation_id=group, **what)  # type: ignore[arg-type]


async def listed(device: RawDevice) -> list[str]:
    answer = await device.call(conversation_pb2.ListConversationsRequest())
    return [each.conversation_id for each in answer.conversations]


async def test_added_member_sees_only_later_messages(scenario: Scenario) -> None:
    before = await scenario.alice.sent(scenario.group, "before carol")
    answer = await scenario.alice.call(add(scenario.group, scenario.carol, scenario.bob))
    assert {each.user_id for each in answer.conversation.members} == {
        scenario.alice.user_id,
        scenario.bob.user_id,
        scenario.carol.user_id,
    }
    joined = before + 1
    await scenario.carol.has_all(scenario.group, joined)
    change = scenario.carol.logs[scenario.group][joined].membership_changed
    assert change.kind == entry_pb2.MembershipChanged.KIND_ADDED
    assert [each.user_id for each in change.members] == [scenario.carol.user_id], "bob was there already"
    after = await scenario.bob.sent(scenario.group, "hello carol")
    await scenario.carol.has_all(scenario.group, after)
    fetched = await scenario.carol.fetch(scenario.group, limit=500)
    assert fetched.seqs == [joined, after]
    assert fetched.ranges[0].unread_count == 1
    assert scenario.group in await listed(scenario.carol)


async def test_member_added_while_offline_is_notified_on_reconnect(scenario: Scenario) -> None:
    await scenario.carol.close()
    await scenario.alice.call(add(scenario.group, scenario.carol))
    await scenario.carol.open(scenario.carol.cursor)
    assert scenario.group in (await scenario.carol.changes())[0]
    assert (await scenario.carol.fetch(scenario.group)).ranges[0].complete


async def test_removed_member_keeps_seen_messages_and_gets_no_later_one(scenario: Scenario) -> None:
    await scenario.alice.call(add(scenario.group, scenario.carol))
    last = await scenario.bob.sent(scenario.group, "still with carol")
    await scenario.alice.call(remove(scenario.group, scenario.carol))
    await scenario.carol.has_all(scenario.group, last + 1)
    assert (
        scenario.carol.logs[scenario.group][last + 1].membership_changed.kind
        == entry_pb2.MembershipChanged.KIND_REMOVED
    )
    after = await scenario.bob.sent(scenario.group, "without carol")
    await scenario.alice.call(update(scenario.group, title="Without carol"))
    await scenario.alice.has_all(scenario.group, after + 1)
    assert after not in scenario.carol.logs[scenario.group]
    fetched = await scenario.carol.fetch(scenario.group, limit=500)
    assert fetched.seqs[-1] == last + 1
    assert fetched.ranges[0].head_seq == last + 1
    assert fetched.ranges[0].complete
    assert not fetched.ranges[0].watermarks
    seen = (
        await scenario.carol.call(conversation_pb2.GetConversationRequest(conversation_id=scenario.group))
    ).conversation
    assert (seen.title, list(seen.members), seen.head_seq) == ("Weather", [], last + 1)
    messages = (await scenario.carol.call(chat_pb2.ListMessagesRequest(conversation_id=scenario.group))).messages
    assert [each.seq for each in messages] == [last]
    assert (await scenario.carol.refused(scenario.group, "may I?")).code_and_reason == NO_CONVERSATION
    assert (await scenario.carol.refusal(leave(scenario.group))).code_and_reason == NO_CONVERSATION


async def test_readded_member_does_not_see_messages_of_absence(scenario: Scenario) -> None:
    await scenario.alice.call(add(scenario.group, scenario.carol))
    first = await scenario.bob.sent(scenario.group, "one")
    await scenario.carol.call(leave(scenario.group))
    await scenario.bob.sent(scenario.group, "two, without carol")
    await scenario.alice.call(add(scenario.group, scenario.carol))
    last = await scenario.bob.sent(scenario.group, "three")
    await scenario.carol.has(scenario.group, "one", "three")
    fetched = await scenario.carol.fetch(scenario.group, limit=500)
    assert fetched.seqs == [first - 1, first, first + 1, last - 1, last]
    # In pieces as well, over the gap.
    pieces, after = list[int](), 0
    while True:
        piece = await scenario.carol.fetch(scenario.group, after, limit=2)
        pieces += piece.seqs
        if piece.ranges[0].complete:
            break
        after = piece.seqs[-1]
    assert pieces == fetched.seqs
    newest_first = await scenario.carol.call(chat_pb2.ListMessagesRequest(conversation_id=scenario.group, page_size=1))
    older = await scenario.carol.call(
        chat_pb2.ListMessagesRequest(
            conversation_id=scenario.group, page_size=1, page_token=newest_first.next_page_token
        )
    )
    assert [newest_first.messages[0].seq, older.messages[0].seq] == [last, first]
    assert not older.next_page_token
    # What carol had not read when she left is still unread, and what came meanwhile does not count.
    assert fetched.ranges[0].unread_count == 2


async def test_only_admins_change_group(scenario: Scenario) -> None:
    for request in (
        add(scenario.group, scenario.carol),
        remove(scenario.group, scenario.alice),
        role(scenario.group, scenario.bob, ADMIN),
        update(scenario.group, title="Mine"),
        conversation_pb2.SetRetentionRequest(request_id=new_id(), conversation_id=scenario.group),
    ):
        assert (await scenario.bob.refusal(request)).code_and_reason == FORBIDDEN, request
        assert (await scenario.carol.refusal(request)).code_and_reason == NO_CONVERSATION, request


async def test_roles_are_granted_and_revoked(scenario: Scenario) -> None:
    await scenario.alice.call(role(scenario.group, scenario.bob, ADMIN))
    assert await scenario.members() == {scenario.alice.user_id: ADMIN, scenario.bob.user_id: ADMIN}
    await scenario.bob.call(role(scenario.group, scenario.alice, MEMBER))
    assert (await scenario.alice.refusal(role(scenario.group, scenario.bob, MEMBER))).code_and_reason == FORBIDDEN
    last = ("FAILED_PRECONDITION", "LAST_ADMIN")
    assert (await scenario.bob.refusal(role(scenario.group, scenario.bob, MEMBER))).code_and_reason == last
    assert (await scenario.bob.refusal(role(scenario.group, scenario.carol, ADMIN))).code_and_reason == (
        "NOT_FOUND",
        "USER_NOT_FOUND",
    )


async def test_longest_standing_member_succeeds_last_admin(scenario: Scenario) -> None:
    await scenario.alice.call(add(scenario.group, scenario.carol))
    await scenario.alice.call(leave(scenario.group))
    request = conversation_pb2.GetConversationRequest(conversation_id=scenario.group)
    members = (await scenario.carol.call(request)).conversation.members
    assert {each.user_id: each.role for each in members} == {
        scenario.bob.user_id: ADMIN,
        scenario.carol.user_id: MEMBER,
    }
    await scenario.bob.call(leave(scenario.group))
    await scenario.carol.call(leave(scenario.group))
    assert (await scenario.carol.refused(scenario.group, "anybody?")).code_and_reason == NO_CONVERSATION


async def test_title_and_send_permission_are_updated(scenario: Scenario) -> None:
    answer = await scenario.alice.call(update(scenario.group, title="Climate", admins_only_send=True))
    told = answer.conversation
    assert (told.title, told.admins_only_send) == ("Climate", True)
    await scenario.bob.has_all(scenario.group, told.head_seq)
    change = scenario.bob.logs[scenario.group][told.head_seq].conversation_updated
    assert (change.title, change.admins_only_send) == ("Climate", True)
    assert (await scenario.bob.refused(scenario.group, "but")).code_and_reason == FORBIDDEN
    assert await scenario.alice.sent(scenario.group, "I may") == told.head_seq + 1
    await scenario.alice.call(update(scenario.group, admins_only_send=False))
    assert await scenario.bob.sent(scenario.group, "now I may") > 0
    nothing = ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert (await scenario.alice.refusal(update(scenario.group))).code_and_reason == nothing


async def test_picture_is_set_and_removed(catalog_world: World, catalog: CatalogServer) -> None:
    alice, bob = await catalog_world.users("alice", "bob")
    await bob.connect()
    group, picture = await alice.group("Weather", [bob]), catalog.add(alice)
    for media_id in (picture, ""):
        told = (await alice.call(update(group, picture_media_id=media_id))).conversation
        assert told.picture_media_id == media_id
        await bob.has_all(group, told.head_seq)
        assert bob.logs[group][told.head_seq].conversation_updated == entry_pb2.ConversationUpdated(
            picture_media_id=media_id
        )


async def test_group_is_full_at_one_hundred_members(scenario: Scenario) -> None:
    crowd = await scenario.world.users(*["somebody"] * 98)
    await scenario.alice.call(add(scenario.group, *crowd))
    full = ("FAILED_PRECONDITION", "GROUP_FULL")
    assert (await scenario.alice.refusal(add(scenario.group, scenario.carol))).code_and_reason == full
    await scenario.alice.call(remove(scenario.group, crowd[0]))
    await scenario.alice.call(add(scenario.group, scenario.carol))
    assert len(await scenario.members()) == 100


async def test_group_changes_are_refused_in_direct_conversation(scenario: Scenario) -> None:
    direct = await scenario.alice.direct(scenario.bob)
    no_group = ("FAILED_PRECONDITION", "NOT_A_GROUP")
    for request in (
        add(direct, scenario.carol),
        remove(direct, scenario.bob),
        leave(direct),
        update(direct, title="?"),
    ):
        assert (await scenario.alice.refusal(request)).code_and_reason == no_group, request
    days = Duration(seconds=7 * 86400)
    weekly = conversation_pb2.SetRetentionRequest(
        request_id=new_id(), conversation_id=direct, retention=entry_pb2.Retention(max_age=days)
    )
    await scenario.bob.call(weekly)
    seen = await scenario.alice.call(conversation_pb2.GetConversationRequest(conversation_id=direct))
    assert seen.conversation.retention.max_age == days
    weekly.request_id = new_id()
    for seconds in (60, 10**16):
        weekly.retention.max_age.seconds = seconds
        assert (await scenario.bob.refusal(weekly)).code_and_reason == ("INVALID_ARGUMENT", "FIELD_INVALID")


async def test_repeated_change_request_is_applied_once(scenario: Scenario) -> None:
    request = add(scenario.group, scenario.carol)
    await scenario.alice.call(request)
    await scenario.alice.call(remove(scenario.group, scenario.carol))
    await scenario.alice.call(request)
    assert scenario.carol.user_id not in await scenario.members()


async def test_only_one_of_two_mutual_removals_succeeds(scenario: Scenario) -> None:
    await scenario.alice.call(role(scenario.group, scenario.bob, ADMIN))
    outcomes = await asyncio.gather(
        scenario.alice.call(remove(scenario.group, scenario.bob)),
        scenario.bob.call(remove(scenario.group, scenario.alice)),
        return_exceptions=True,
    )
    refused = [of_error(each).code_and_reason for each in outcomes if isinstance(each, grpc.aio.AioRpcError)]
    assert refused == [NO_CONVERSATION], f"one of them was first: {outcomes}"
    survivor = scenario.bob if isinstance(outcomes[0], grpc.aio.AioRpcError) else scenario.alice
    request = conversation_pb2.GetConversationRequest(conversation_id=scenario.group)
    members = (await survivor.call(request)).conversation.members
    assert [(each.user_id, each.role) for each in members] == [(survivor.user_id, ADMIN)]


async def test_concurrent_creation_on_two_servers_makes_one_direct_conversation(scenario: Scenario) -> None:
    one, other, *_ = scenario.world.servers
    asked = [
        (scenario.carol, conversation_pb2.GetOrCreateDirectRequest(peer_id=scenario.dave.user_id), one),
        (scenario.dave, conversation_pb2.GetOrCreateDirectRequest(peer_id=scenario.carol.user_id), other),
    ]
    made = await asyncio.gather(*(who.call(request, at=server) for who, request, server in asked * 3))
    assert len({each.conversation.conversation_id for each in made}) == 1
    conversation = made[0].conversation.conversation_id
    assert await scenario.carol.sent(conversation, "hi") == 2


async def test_concurrent_get_or_create_returns_same_conversation(world: World) -> None:
    servers = world.servers
    for number in range(20):
        one, other = await world.users("one", "other")
        asked = [
            (who, conversation_pb2.GetOrCreateDirectRequest(peer_id=peer.user_id), servers[(number + place) % 3])
            for place, (who, peer) in enumerate(((one, other), (other, one)))
        ]
        made = await asyncio.gather(*(who.call(request, at=server) for who, request, server in asked))
        assert len({each.conversation.conversation_id for each in made}) == 1
