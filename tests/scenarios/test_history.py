"""Reading state: watermarks, unread counts, pages of history in both directions, and groups."""

from __future__ import annotations

import asyncio

import pytest

from parley.chat.v1 import chat_pb2, conversation_pb2, entry_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.world import World
from tests.scenarios.conftest import Scene

pytestmark = pytest.mark.scenario


async def overview(device: RawDevice, conversation: str) -> conversation_pb2.Conversation:
    """Return the conversation from the list; check that reading it alone gives the same."""
    listed = (await device.call(conversation_pb2.ListConversationsRequest())).conversations
    [shown] = [each for each in listed if each.conversation_id == conversation]
    alone = await device.call(conversation_pb2.GetConversationRequest(conversation_id=conversation))
    assert alone.conversation == shown
    assert isinstance(shown, conversation_pb2.Conversation)
    return shown


async def unread(device: RawDevice, conversation: str) -> int:
    """Return the unread count; check that ranges and lists agree."""
    [result] = (await device.fetch(conversation)).ranges
    assert (await overview(device, conversation)).unread_count == result.unread_count
    return int(result.unread_count)


async def test_unread_messages_are_counted(scene: Scene) -> None:
    alice, bob, conversation = scene.alice, scene.bob, scene.conversation
    await bob.connect()
    assert await unread(bob, conversation) == 0, "that it was made is no message"
    first, *_, last = [await alice.sent(conversation, str(number)) for number in range(5)]
    assert (await unread(bob, conversation), await unread(alice, conversation)) == (5, 0)
    await bob.receipt(conversation, delivered=last)
    await bob.receipt(conversation, read=first + 1)
    await bob.has_receipts(conversation, bob, delivered=last, read=first + 1)
    assert await unread(bob, conversation) == 3
    assert await bob.sent(conversation, "an answer") == last + 1
    await eventually(lambda: is_unread(bob, conversation, 0))
    await alice.sent(conversation, "one more")
    assert await unread(bob, conversation) == 1


async def is_unread(device: RawDevice, conversation: str, count: int) -> bool:
    return await unread(device, conversation) == count


async def test_conversation_has_head_and_callers_watermarks(scene: Scene) -> None:
    alice, bob, conversation = scene.alice, scene.bob, scene.conversation
    await alice.sent(conversation, "hello")
    shown = await overview(bob, conversation)
    assert (shown.head_seq, shown.first_seq, shown.read_seq, shown.delivered_seq) == (2, 1, 0, 0)
    assert shown.head.message_appended.content.text.body == "hello"
    assert shown.head.client_message_id == ""
    assert shown.kind == conversation_pb2.CONVERSATION_KIND_DIRECT
    assert {member.user_id for member in shown.members} == {alice.user_id, bob.user_id}


async def test_conversations_are_listed_once_in_pages(scene: Scene) -> None:
    alice = scene.alice
    friends = await scene.world.users(*(f"friend {number}" for number in range(6)))
    made = {scene.conversation, *[await alice.direct(friend) for friend in friends]}
    listed, token, pages = list[str](), "", 0
    while pages == 0 or token:
        answer = await alice.call(conversation_pb2.ListConversationsRequest(page_size=3, page_token=token))
        listed += [each.conversation_id for each in answer.conversations]
        token, pages = answer.next_page_token, pages + 1
    assert sorted(listed) == sorted(made)
    assert pages == 3


async def pages_of(device: RawDevice, conversation: str, *, before: int = 0, after: int = 0) -> list[list[int]]:
    pages, token = list[list[int]](), ""
    while not pages or token:
        request = chat_pb2.ListMessagesRequest(
            conversation_id=conversation, before_seq=before, after_seq=after, page_size=4, page_token=token
        )
        answer = await device.call(request)
        pages.append([message.seq for message in answer.messages])
        token = answer.next_page_token
    return pages


async def test_history_is_paged_in_both_directions(scene: Scene) -> None:
    for number in range(2, 12):
        assert await scene.alice.sent(scene.conversation, str(number)) == number
    for device in (scene.alice, scene.bob):
        assert await pages_of(device, scene.conversation) == [[11, 10, 9, 8], [7, 6, 5, 4], [3, 2]]
        assert await pages_of(device, scene.conversation, before=6) == [[5, 4, 3, 2]]
        assert await pages_of(device, scene.conversation, after=5) == [[6, 7, 8, 9], [10, 11]]
        assert await pages_of(device, scene.conversation, after=11) == [[]]


async def test_log_is_fetched_in_ranges(scene: Scene) -> None:
    bob = scene.bob
    await bob.connect()
    for number in range(2, 12):
        await scene.alice.sent(scene.conversation, str(number))
    after, seqs = 0, list[int]()
    while True:
        fetched = await bob.fetch(scene.conversation, after, limit=4)
        [result] = fetched.ranges
        seqs += fetched.seqs
        assert (result.head_seq, result.after_seq, result.unread_count) == (11, after, 10)
        if result.complete:
            break
        after = seqs[-1]
    assert seqs == list(range(1, 12))


async def test_range_larger_than_frame_is_split(scene: Scene) -> None:
    body = "x" * 16_000
    for _ in range(20):
        await scene.alice.sent(scene.conversation, body)
    await scene.bob.open()
    [result] = (await scene.bob.fetch(scene.conversation)).ranges
    assert result.complete
    assert scene.bob.live_seqs(scene.conversation) == list(range(1, 22))
    assert scene.bob.stream.kinds.count("entries") > 1


async def test_conversation_changed_while_offline_is_listed_on_reconnect(scene: Scene) -> None:
    alice, bob, conversation = scene.alice, scene.bob, scene.conversation
    await bob.open()
    assert await bob.changes() == ([conversation], chat_pb2.Changes.RESYNC_NO_CURSOR)
    await bob.close()
    await alice.sent(conversation, "while you were out")
    await bob.open(bob.cursor)
    named, resync = await bob.changes()
    assert (named, resync) == ([conversation], chat_pb2.Changes.RESYNC_UNSPECIFIED)
    assert (await bob.fetch(conversation, after_seq=1)).seqs == [2]


async def test_group_of_three_exchanges_messages(world: World) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    for device in (alice, bob, carol):
        await device.connect()
    group = await alice.group("Lunch", [bob, carol])
    for device in (alice, bob, carol):
        await device.has_all(group, 1)
        made = device.logs[group][1]
        roles = {member.user_id: member.role for member in made.membership_changed.members}
        assert roles == {
            alice.user_id: entry_pb2.ROLE_ADMIN,
            bob.user_id: entry_pb2.ROLE_MEMBER,
            carol.user_id: entry_pb2.ROLE_MEMBER,
        }
    assert (await overview(carol, group)).title == "Lunch"
    for device, body in ((alice, "noon?"), (bob, "one"), (carol, "noon")):
        await device.sent(group, body)
    for device in (alice, bob, carol):
        await device.has(group, "noon?", "one", "noon")
        assert await unread(device, group) == {alice: 2, bob: 1, carol: 0}[device]


async def test_group_of_one_hundred_on_three_servers_receives_all_messages(world: World) -> None:
    members = await world.users(*(f"member {number}" for number in range(100)))
    alice = members[0]
    group = await alice.group("Everybody", members[1:])
    for number, device in enumerate(members):
        await device.connect(at=world.servers[number % 3])
    senders = members[::20]
    keys = [(device, await device.send(group, f"{number}")) for device in senders for number in range(4)]
    for device, key in keys:
        assert (await device.next_result(key)).HasField("appended")
    # Two entries make a group: its members, and its title.
    last = 22
    await asyncio.gather(*(device.has_all(group, last) for device in members))
    wanted = alice.bodies(group)
    for device in members:
        assert device.bodies(group) == wanted
        assert device.live_seqs(group) == sorted(device.live_seqs(group)), "in order"
    for device in members[1:]:
        await device.receipt(group, read=last)
    for reader in members:
        # Who wrote has read, which the entry itself tells.
        if reader not in senders:
            await alice.has_receipts(group, reader, delivered=last, read=last, timeout=20)
