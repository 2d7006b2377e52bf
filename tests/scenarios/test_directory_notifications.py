"""The context of notifications: its counts are those that the recipients read themselves."""

from __future__ import annotations

import time

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from parley.chat.v1 import account_pb2, conversation_pb2
from parley.internal.v1 import directory_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.directory import Directory
from tests.raw.world import PASSWORD, World
from tests.scenarios.test_directory import remove

pytestmark = pytest.mark.scenario

FOREVER = Timestamp(seconds=253402300799)


@pytest.fixture
def directory(world: World) -> Directory:
    return Directory(world)


def mute(conversation: str, until: Timestamp | None) -> conversation_pb2.SetMuteRequest:
    return conversation_pb2.SetMuteRequest(conversation_id=conversation, mute_until_time=until)


def seconds_from_now(seconds: int) -> Timestamp:
    return Timestamp(seconds=int(time.time()) + seconds)


async def listed(user: RawDevice) -> dict[str, conversation_pb2.Conversation]:
    """Return the conversations of a user as ConversationService returns them."""
    conversations = (await user.call(conversation_pb2.ListConversationsRequest())).conversations
    return {each.conversation_id: each for each in conversations}


async def described(directory: Directory, conversation: str, user: RawDevice) -> directory_pb2.Recipient:
    """Return a recipient, whose counts must be those of ListConversations and GetConversation."""
    own = await listed(user)
    [recipient] = (await directory.describe(conversation, user, user)).recipients
    now = time.time()
    on_icon = [each for each in own.values() if not each.archived and each.mute_until_time.seconds < now]
    shown = await user.call(conversation_pb2.GetConversationRequest(conversation_id=conversation))
    assert recipient.unread_count == own[conversation].unread_count == shown.conversation.unread_count
    assert recipient.read_seq == own[conversation].read_seq
    assert recipient.badge_count == sum(each.unread_count for each in on_icon)
    return recipient


async def test_group_and_direct_conversation_are_described(world: World, directory: Directory) -> None:
    alice, bob, carol, dave = await world.users("alice", "bob", "carol", "dave")
    for device in (alice, bob):
        await device.connect()
    group = await alice.group("Friday", [bob, carol])
    for number in range(3):
        await alice.sent(group, f"{number}")
    context = await directory.describe(group, alice, carol, dave, bob, alice)
    assert (context.form, context.title) == (directory_pb2.CONVERSATION_FORM_GROUP, "Friday")
    assert context.sender_name == "alice"
    assert [each.user_id for each in context.recipients] == [each.user_id for each in (carol, dave, bob, alice)]
    assert context.recipients[1] == directory_pb2.Recipient(user_id=dave.user_id)
    assert [(each.member, each.unread_count, each.badge_count) for each in context.recipients] == [
        (True, 3, 3),
        (False, 0, 0),
        (True, 3, 3),
        (True, 0, 0),
    ]
    both = await alice.direct(bob)
    context = await directory.describe(both, bob, alice)
    assert (context.form, context.title, context.sender_name) == (
        directory_pb2.CONVERSATION_FORM_DIRECT,
        "",
        "bob",
    )


async def test_counts_follow_receipts_mutes_and_archived_conversations(world: World, directory: Directory) -> None:
    alice, bob = await world.users("alice", "bob")
    for device in (alice, bob):
        await device.connect()
    conversations = [await alice.direct(bob), *[await alice.group(f"{number}", [bob]) for number in range(3)]]
    both, loud, muted, archived = conversations
    for conversation in conversations:
        for number in range(4):
            await alice.sent(conversation, f"{number}")
    assert (await described(directory, both, bob)).badge_count == 16
    head = (await listed(bob))[loud].head_seq
    await bob.receipt(loud, delivered=head, read=head - 1)

    async def is_read() -> bool:
        return (await described(directory, loud, bob)).read_seq == head - 1

    await eventually(is_read)
    assert (await described(directory, loud, bob)).unread_count == 1
    assert (await described(directory, both, bob)).badge_count == 13
    # A mute that has passed counts for nothing.
    await bob.call(mute(muted, seconds_from_now(-60)))
    recipient = await described(directory, muted, bob)
    assert (recipient.HasField("mute_end_time"), recipient.badge_count) == (False, 13)
    for until in (seconds_from_now(3600), FOREVER):
        await bob.call(mute(muted, until))
        recipient = await described(directory, muted, bob)
        assert (recipient.mute_end_time, recipient.unread_count, recipient.badge_count) == (until, 4, 9)
    await bob.call(conversation_pb2.SetArchivedRequest(conversation_id=archived, archived=True))
    assert (await described(directory, archived, bob)).badge_count == 5
    await bob.call(mute(muted, None))
    await bob.call(conversation_pb2.SetArchivedRequest(conversation_id=archived))
    assert (await described(directory, muted, bob)).badge_count == 13


async def test_removed_member_is_not_notified(world: World, directory: Directory) -> None:
    alice, bob = await world.users("alice", "bob")
    await alice.connect()
    group = await alice.group("Friday", [bob])
    await alice.sent(group, "hello")
    assert (await described(directory, group, bob)).member
    await alice.call(remove(group, bob))
    for server in range(len(world.servers)):
        context = await Directory(world, server).describe(group, alice, bob)
        assert list(context.recipients) == [directory_pb2.Recipient(user_id=bob.user_id)]
        assert context.title == "Friday"
    both = await alice.direct(bob)
    await alice.sent(both, "what I said in the group is not on the icon")
    assert (await described(directory, both, bob)).badge_count == 1


async def test_deleted_sender_has_no_name(world: World, directory: Directory) -> None:
    alice, bob = await world.register("alice"), await world.user("bob")
    both = await alice.direct(bob)
    profile = (await alice.call(account_pb2.GetProfileRequest())).profile
    assert (await directory.describe(both, alice, bob)).sender_name == profile.display_name != ""
    await alice.call(account_pb2.DeleteAccountRequest(password=PASSWORD))
    assert (await directory.describe(both, alice, bob)).sender_name == ""


async def test_all_members_of_a_full_group_are_described(world: World, directory: Directory) -> None:
    alice, *others = await world.users(*["somebody"] * 100)
    await alice.connect()
    group = await alice.group("Crowd", others)
    await alice.sent(group, "hello")
    context = await directory.describe(group, alice, *others)
    assert [(each.member, each.unread_count, each.badge_count) for each in context.recipients] == [(True, 1, 1)] * 99
