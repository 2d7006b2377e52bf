"""Groups: who comes, goes, may do what, and what each may see of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from parley.chat.v1 import chat_pb2, conversation_pb2, entry_pb2
from tests.raw.device import RawDevice, new_id
from tests.raw.refusal import of_error
from tests.raw.world import World

pytestmark = pytest.mark.scenario

NO_CONVERSATION = ("NOT_FOUND", "CONVERSATION_NOT_FOUND")
FORBIDDEN = ("PERMISSION_DENIED", "ROLE_INSUFFICIENT")
ADMIN, MEMBER = entry_pb2.ROLE_ADMIN, entry_pb2.ROLE_MEMBER


@dataclass
class Play:
    """Alice is the admin of a group with bob; carol and dave are not in it. All have their streams open."""

    world: World
    alice: RawDevice
    bob: RawDevice
    carol: RawDevice
    dave: RawDevice
    group: str

    async def members(self) -> dict[str, int]:
        """The roles of the members as alice sees them."""
        request = conversation_pb2.GetConversationRequest(conversation_id=self.group)
        found = (await self.alice.ask(request)).conversation
        return {each.user_id: each.role for each in found.members}


@pytest.fixture
async def play(world: World) -> Play:
    alice, bob, carol, dave = await world.users("alice", "bob", "carol", "dave")
    for device in (alice, bob, carol, dave):
        await device.attend()
    return Play(world, alice, bob, carol, dave, await alice.group("Weather", [bob]))


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
    answer = await device.ask(conversation_pb2.ListConversationsRequest())
    return [each.conversation_id for each in answer.conversations]


async def test_added_member_sees_only_later_messages(play: Play) -> None:
    before = await play.alice.sent(play.group, "before carol")
    answer = await play.alice.ask(add(play.group, play.carol, play.bob))
    assert {each.user_id for each in answer.conversation.members} == {
        play.alice.user_id,
        play.bob.user_id,
        play.carol.user_id,
    }
    joined = before + 1
    await play.carol.has_all(play.group, joined)
    change = play.carol.logs[play.group][joined].membership_changed
    assert change.kind == entry_pb2.MembershipChanged.KIND_ADDED
    assert [each.user_id for each in change.members] == [play.carol.user_id], "bob was there already"
    after = await play.bob.sent(play.group, "hello carol")
    await play.carol.has_all(play.group, after)
    fetched = await play.carol.fetch(play.group, limit=500)
    assert fetched.seqs == [joined, after]
    assert fetched.ranges[0].unread_count == 1
    assert play.group in await listed(play.carol)


async def test_member_added_while_offline_is_notified_on_reconnect(play: Play) -> None:
    await play.carol.close()
    await play.alice.ask(add(play.group, play.carol))
    await play.carol.open(play.carol.cursor)
    assert play.group in (await play.carol.changes())[0]
    assert (await play.carol.fetch(play.group)).ranges[0].complete


async def test_removed_member_keeps_seen_messages_and_gets_no_later_one(play: Play) -> None:
    await play.alice.ask(add(play.group, play.carol))
    last = await play.bob.sent(play.group, "still with carol")
    await play.alice.ask(remove(play.group, play.carol))
    await play.carol.has_all(play.group, last + 1)
    assert play.carol.logs[play.group][last + 1].membership_changed.kind == entry_pb2.MembershipChanged.KIND_REMOVED
    after = await play.bob.sent(play.group, "without carol")
    await play.alice.ask(update(play.group, title="Without carol"))
    await play.alice.has_all(play.group, after + 1)
    assert after not in play.carol.logs[play.group]
    fetched = await play.carol.fetch(play.group, limit=500)
    assert fetched.seqs[-1] == last + 1
    assert fetched.ranges[0].head_seq == last + 1
    assert fetched.ranges[0].complete
    assert not fetched.ranges[0].watermarks
    seen = (await play.carol.ask(conversation_pb2.GetConversationRequest(conversation_id=play.group))).conversation
    assert (seen.title, list(seen.members), seen.head_seq) == ("Weather", [], last + 1)
    messages = (await play.carol.ask(chat_pb2.ListMessagesRequest(conversation_id=play.group))).messages
    assert [each.seq for each in messages] == [last]
    assert (await play.carol.refused(play.group, "may I?")).said == NO_CONVERSATION
    assert (await play.carol.refusal(leave(play.group))).said == NO_CONVERSATION


async def test_readded_member_does_not_see_messages_of_absence(play: Play) -> None:
    await play.alice.ask(add(play.group, play.carol))
    first = await play.bob.sent(play.group, "one")
    await play.carol.ask(leave(play.group))
    await play.bob.sent(play.group, "two, without carol")
    await play.alice.ask(add(play.group, play.carol))
    last = await play.bob.sent(play.group, "three")
    await play.carol.has(play.group, "one", "three")
    fetched = await play.carol.fetch(play.group, limit=500)
    assert fetched.seqs == [first - 1, first, first + 1, last - 1, last]
    # In pieces as well, over the gap.
    pieces, after = list[int](), 0
    while True:
        piece = await play.carol.fetch(play.group, after, limit=2)
        pieces += piece.seqs
        if piece.ranges[0].complete:
            break
        after = piece.seqs[-1]
    assert pieces == fetched.seqs
    newest_first = await play.carol.ask(chat_pb2.ListMessagesRequest(conversation_id=play.group, page_size=1))
    older = await play.carol.ask(
        chat_pb2.ListMessagesRequest(conversation_id=play.group, page_size=1, page_token=newest_first.next_page_token)
    )
    assert [newest_first.messages[0].seq, older.messages[0].seq] == [last, first]
    assert not older.next_page_token
    assert fetched.ranges[0].unread_count == 1


async def test_only_admins_change_group(play: Play) -> None:
    for request in (
        add(play.group, play.carol),
        remove(play.group, play.alice),
        role(play.group, play.bob, ADMIN),
        update(play.group, title="Mine"),
        conversation_pb2.SetRetentionRequest(request_id=new_id(), conversation_id=play.group),
    ):
        assert (await play.bob.refusal(request)).said == FORBIDDEN, request
        assert (await play.carol.refusal(request)).said == NO_CONVERSATION, request


async def test_roles_are_granted_and_revoked(play: Play) -> None:
    await play.alice.ask(role(play.group, play.bob, ADMIN))
    assert await play.members() == {play.alice.user_id: ADMIN, play.bob.user_id: ADMIN}
    await play.bob.ask(role(play.group, play.alice, MEMBER))
    assert (await play.alice.refusal(role(play.group, play.bob, MEMBER))).said == FORBIDDEN
    last = ("FAILED_PRECONDITION", "LAST_ADMIN")
    assert (await play.bob.refusal(role(play.group, play.bob, MEMBER))).said == last
    assert (await play.bob.refusal(role(play.group, play.carol, ADMIN))).said == ("NOT_FOUND", "USER_NOT_FOUND")


async def test_longest_standing_member_succeeds_last_admin(play: Play) -> None:
    await play.alice.ask(add(play.group, play.carol))
    await play.alice.ask(leave(play.group))
    request = conversation_pb2.GetConversationRequest(conversation_id=play.group)
    members = (await play.carol.ask(request)).conversation.members
    assert {each.user_id: each.role for each in members} == {play.bob.user_id: ADMIN, play.carol.user_id: MEMBER}
    await play.bob.ask(leave(play.group))
    await play.carol.ask(leave(play.group))
    assert (await play.carol.refused(play.group, "anybody?")).said == NO_CONVERSATION


async def test_title_picture_and_send_permission_are_updated(play: Play) -> None:
    picture = "ab" * 16
    answer = await play.alice.ask(update(play.group, title="Climate", picture_media_id=picture, admins_only_send=True))
    told = answer.conversation
    assert (told.title, told.picture_media_id, told.admins_only_send) == ("Climate", picture, True)
    await play.bob.has_all(play.group, told.head_seq)
    change = play.bob.logs[play.group][told.head_seq].conversation_updated
    assert (change.title, change.picture_media_id, change.admins_only_send) == ("Climate", picture, True)
    assert (await play.bob.refused(play.group, "but")).said == FORBIDDEN
    assert await play.alice.sent(play.group, "I may") == told.head_seq + 1
    await play.alice.ask(update(play.group, admins_only_send=False, picture_media_id=""))
    assert await play.bob.sent(play.group, "now I may") > 0
    nothing = ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert (await play.alice.refusal(update(play.group))).said == nothing


async def test_group_is_full_at_one_hundred_members(play: Play) -> None:
    crowd = await play.world.users(*["somebody"] * 98)
    await play.alice.ask(add(play.group, *crowd))
    full = ("FAILED_PRECONDITION", "GROUP_FULL")
    assert (await play.alice.refusal(add(play.group, play.carol))).said == full
    await play.alice.ask(remove(play.group, crowd[0]))
    await play.alice.ask(add(play.group, play.carol))
    assert len(await play.members()) == 100


async def test_group_changes_are_refused_in_direct_conversation(play: Play) -> None:
    direct = await play.alice.direct(play.bob)
    no_group = ("FAILED_PRECONDITION", "NOT_A_GROUP")
    for request in (add(direct, play.carol), remove(direct, play.bob), leave(direct), update(direct, title="?")):
        assert (await play.alice.refusal(request)).said == no_group, request
    days = Duration(seconds=7 * 86400)
    weekly = conversation_pb2.SetRetentionRequest(
        request_id=new_id(), conversation_id=direct, retention=entry_pb2.Retention(max_age=days)
    )
    await play.bob.ask(weekly)
    seen = await play.alice.ask(conversation_pb2.GetConversationRequest(conversation_id=direct))
    assert seen.conversation.retention.max_age == days
    weekly.request_id = new_id()
    for seconds in (60, 10**16):
        weekly.retention.max_age.seconds = seconds
        assert (await play.bob.refusal(weekly)).said == ("INVALID_ARGUMENT", "FIELD_INVALID")


async def test_repeated_change_request_is_applied_once(play: Play) -> None:
    request = add(play.group, play.carol)
    await play.alice.ask(request)
    await play.alice.ask(remove(play.group, play.carol))
    await play.alice.ask(request)
    assert play.carol.user_id not in await play.members()


async def test_only_one_of_two_mutual_removals_succeeds(play: Play) -> None:
    await play.alice.ask(role(play.group, play.bob, ADMIN))
    outcomes = await asyncio.gather(
        play.alice.ask(remove(play.group, play.bob)),
        play.bob.ask(remove(play.group, play.alice)),
        return_exceptions=True,
    )
    refused = [of_error(each).said for each in outcomes if isinstance(each, grpc.aio.AioRpcError)]
    assert refused == [NO_CONVERSATION], f"one of them was first: {outcomes}"
    survivor = play.bob if isinstance(outcomes[0], grpc.aio.AioRpcError) else play.alice
    request = conversation_pb2.GetConversationRequest(conversation_id=play.group)
    members = (await survivor.ask(request)).conversation.members
    assert [(each.user_id, each.role) for each in members] == [(survivor.user_id, ADMIN)]


async def test_concurrent_creation_on_two_servers_makes_one_direct_conversation(play: Play) -> None:
    one, other, *_ = play.world.servers
    asked = [
        (play.carol, conversation_pb2.GetOrCreateDirectRequest(peer_id=play.dave.user_id), one),
        (play.dave, conversation_pb2.GetOrCreateDirectRequest(peer_id=play.carol.user_id), other),
    ]
    made = await asyncio.gather(*(who.ask(request, at=server) for who, request, server in asked * 3))
    assert len({each.conversation.conversation_id for each in made}) == 1
    conversation = made[0].conversation.conversation_id
    assert await play.carol.sent(conversation, "hi") == 2


async def test_concurrent_get_or_create_returns_same_conversation(world: World) -> None:
    servers = world.servers
    for number in range(20):
        one, other = await world.users("one", "other")
        asked = [
            (who, conversation_pb2.GetOrCreateDirectRequest(peer_id=peer.user_id), servers[(number + place) % 3])
            for place, (who, peer) in enumerate(((one, other), (other, one)))
        ]
        made = await asyncio.gather(*(who.ask(request, at=server) for who, request, server in asked))
        assert len({each.conversation.conversation_id for each in made}) == 1
