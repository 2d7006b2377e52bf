"""Ticks, unread counts and deletions stay true when members come and go, and after a block, on every device."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from devstack.stack import Stack
from parley_client import ConversationView, DeliveryStatus
from tests.eventually import eventually
from tests.raw.world import World
from tests.scenarios.properties.viewers import Viewer

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]


@pytest.fixture
async def users(stack: Stack, world: World) -> AsyncIterator[list[Viewer]]:
    """Alice, bob and carol, with two connected devices each."""
    phones = await world.users("alice", "bob", "carol")
    viewers = [Viewer(each, await world.add_device(each), stack.door) for each in phones]
    for viewer in viewers:
        await viewer.open()
    yield viewers
    for viewer in viewers:
        await viewer.close()


@pytest.fixture
async def group(users: list[Viewer]) -> str:
    """A group of alice and bob."""
    alice, bob, _ = users
    return (await alice.live.client.conversations.create_group("Weather", [bob.user_id])).conversation_id


async def send(sender: Viewer, conversation: str, text: str = "hello") -> int:
    return (await sender.live.client.messages.send(conversation, text)).seq


async def read(reader: Viewer, conversation: str, seq: int) -> None:
    reader.live.device.mark_read(conversation, seq)

    async def is_stored() -> bool:
        return (await reader.live.client.conversations.get(conversation)).read_seq >= seq

    await eventually(is_stored)


async def on_all_devices(viewer: Viewer, conversation: str, holds: Callable[[ConversationView], bool]) -> None:
    """Wait until `holds` is true of the views of a connected, a resumed and a fresh device."""
    if not viewer.resuming.connected:
        await viewer.resuming.connect()

    async def all_hold() -> bool:
        views = [viewer.live.view(conversation), viewer.resuming.view(conversation)]
        return all(holds(view) for view in [*views, await viewer.fresh_view(conversation)])

    await eventually(all_hold)


async def has_status(sender: Viewer, conversation: str, seq: int, status: DeliveryStatus) -> None:
    def shows(view: ConversationView) -> bool:
        message = view.message(seq)
        return message is not None and view.delivery_status(message) is status

    await on_all_devices(sender, conversation, shows)


async def has_unread(viewer: Viewer, conversation: str, count: int) -> None:
    await on_all_devices(viewer, conversation, lambda view: view.unread_count == count)
    assert (await viewer.live.client.conversations.get(conversation)).unread_count == count


async def test_read_message_stays_read_when_a_member_is_added(users: list[Viewer], group: str) -> None:
    alice, bob, carol = users
    seq = await send(alice, group)
    await read(bob, group, seq)
    await has_status(alice, group, seq, DeliveryStatus.READ)
    await alice.live.client.conversations.add_members(group, [carol.user_id])
    later = await send(alice, group)
    await has_status(alice, group, later, DeliveryStatus.DELIVERED)
    await has_status(alice, group, seq, DeliveryStatus.READ)


async def test_read_message_stays_read_when_a_former_member_returns(users: list[Viewer], group: str) -> None:
    alice, bob, carol = users
    conversations = alice.live.client.conversations
    await conversations.add_members(group, [carol.user_id])
    unread_by_carol = await send(alice, group)
    await conversations.remove_member(group, carol.user_id)
    without_carol = await send(alice, group)
    await read(bob, group, without_carol)
    await has_status(alice, group, without_carol, DeliveryStatus.READ)
    await conversations.add_members(group, [carol.user_id])
    await has_status(alice, group, without_carol, DeliveryStatus.READ)
    await has_status(alice, group, unread_by_carol, DeliveryStatus.READ)


async def test_read_message_stays_read_when_all_others_leave(users: list[Viewer], group: str) -> None:
    alice, bob, _ = users
    seen = await send(alice, group)
    await read(bob, group, seen)
    unseen = await send(alice, group)
    await has_status(alice, group, unseen, DeliveryStatus.DELIVERED)
    await bob.live.client.conversations.leave(group)
    alone = await send(alice, group)
    await has_status(alice, group, alone, DeliveryStatus.SENT)
    await has_status(alice, group, seen, DeliveryStatus.READ)
    await has_status(alice, group, unseen, DeliveryStatus.DELIVERED)


async def test_what_was_unread_at_a_removal_is_unread_at_the_return(users: list[Viewer], group: str) -> None:
    alice, bob, _ = users
    conversations = alice.live.client.conversations
    for _ in range(4):
        await send(alice, group)
    await has_unread(bob, group, 4)
    await conversations.remove_member(group, bob.user_id)
    for _ in range(3):
        await send(alice, group)
    await has_unread(bob, group, 0)
    await bob.resuming.disconnect()
    await conversations.add_members(group, [bob.user_id])
    last = await send(alice, group)
    await has_unread(bob, group, 5)
    await read(bob, group, last)
    await has_unread(bob, group, 0)


async def test_newcomer_has_nothing_unread(users: list[Viewer], group: str) -> None:
    alice, _, carol = users
    await send(alice, group)
    await alice.live.client.conversations.add_members(group, [carol.user_id])
    await has_unread(carol, group, 0)
    await send(alice, group)
    await has_unread(carol, group, 1)


@pytest.mark.parametrize("returns", [True, False], ids=["returns", "stays-away"])
async def test_deletion_made_while_a_reader_was_out_reaches_the_reader(
    users: list[Viewer], group: str, returns: bool
) -> None:
    alice, bob, _ = users
    conversations, messages = alice.live.client.conversations, alice.live.client.messages
    deleted, edited = await send(alice, group, "a secret"), await send(alice, group, "a typo")
    await on_all_devices(bob, group, lambda view: len(view.messages) == 2)
    await bob.resuming.disconnect()
    await conversations.remove_member(group, bob.user_id)
    await messages.delete(group, deleted, for_all=True)
    await messages.edit(group, edited, "for members only")
    if returns:
        await conversations.add_members(group, [bob.user_id])

    def is_taken_back(view: ConversationView) -> bool:
        first, second = view.message(deleted), view.message(edited)
        return first is not None and second is not None and first.deleted and not first.text and not second.text

    await on_all_devices(bob, group, is_taken_back)


@pytest.mark.parametrize("reader_blocks", [True, False], ids=["reader-blocks", "writer-blocks"])
async def test_reading_after_a_block_stays_hidden_from_the_other(users: list[Viewer], reader_blocks: bool) -> None:
    writer, reader, _ = users
    blocker, other = (reader, writer) if reader_blocks else (writer, reader)
    direct = (await writer.live.client.conversations.get_or_create_direct(reader.user_id)).conversation_id
    seq = await send(writer, direct)
    await has_status(writer, direct, seq, DeliveryStatus.DELIVERED)
    await blocker.live.client.accounts.block(other.user_id)
    await read(reader, direct, seq)
    await has_unread(reader, direct, 0)
    await writer.resuming.disconnect()
    await has_status(writer, direct, seq, DeliveryStatus.DELIVERED)
    [mark] = await writer.live.client.messages.list_readers(direct, seq)
    assert (mark.user_id, mark.read_seq < seq) == (reader.user_id, True)
    await blocker.live.client.accounts.unblock(other.user_id)
    await has_status(writer, direct, seq, DeliveryStatus.DELIVERED)
    later = await send(writer, direct, "friends again")
    await read(reader, direct, later)
    await has_status(writer, direct, seq, DeliveryStatus.READ)
