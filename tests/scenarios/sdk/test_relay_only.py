"""Under relay-only retention, devices of the SDK confirm delivery, also of their own user's messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from devstack.services import CHAT
from devstack.stack import Stack
from parley.chat.v1 import entry_pb2
from parley_client import Client, ConversationView, Device, EntryReceived
from tests.eventually import eventually
from tests.raw.world import PASSWORD
from tests.scenarios.sdk.people import user_id

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

RELAY_ONLY = entry_pb2.Retention(relay_only=entry_pb2.Retention.RelayOnly())


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environment = {"PARLEY_RETENTION_PAUSE_SECONDS": "0.2"}
    with Stack(tmp_path_factory.mktemp("relay"), chat_servers=2, services=(CHAT,), environment=environment) as stack:
        yield stack


@pytest.fixture
async def clients(relay: Stack) -> AsyncIterator[list[Client]]:
    """Alice's phone and laptop, and bob's phone."""
    async with AsyncExitStack() as opened:
        phone, laptop, bob = [await opened.enter_async_context(Client(relay.door)) for _ in range(3)]
        suffix = phone.new_id()[-12:]
        await phone.accounts.register(f"alice-{suffix}", PASSWORD)
        await laptop.accounts.login(f"alice-{suffix}", PASSWORD)
        await bob.accounts.register(f"bob-{suffix}", PASSWORD)
        yield [phone, laptop, bob]


@asynccontextmanager
async def listening(client: Client) -> AsyncIterator[tuple[Device, list[str]]]:
    """Yield a connected device and its received texts."""
    heard: list[str] = []

    async def listen(device: Device) -> None:
        nonlocal heard
        async for event in device:
            said = event.text if isinstance(event, EntryReceived) else None
            heard += [said] if said else []

    async with client.connect() as device:
        task = asyncio.create_task(listen(device))
        await device.wait_connected()
        try:
            yield device, heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_content_is_deleted_after_delivery_to_senders_other_device(clients: list[Client]) -> None:
    phone, laptop, bob = clients
    assert bob.session is not None
    chat = (await phone.conversations.get_or_create_direct(bob.session.user_id)).conversation_id
    await phone.conversations.set_retention(chat, RELAY_ONLY)

    async def first_seq() -> int:
        return (await bob.conversations.get(chat)).first_seq

    async with listening(phone) as (sender, sent), listening(bob) as (_, received):
        last = [await sender.send(chat, f"secret {n}") for n in range(3)][-1]
        await eventually(lambda: len(sent) == len(received) == 3)
        assert await first_seq() <= last.seq - 2, "the laptop has none of it"
        async with listening(laptop) as (_, late):
            await eventually(lambda: late == [f"secret {n}" for n in range(3)])

            async def gone() -> bool:
                return await first_seq() == last.seq + 1

            await eventually(gone, timeout=20)
    assert [entry async for entry in bob.messages.list_before(chat)] == []


async def test_relayed_messages_stay_readable_and_unread_on_the_device(clients: list[Client]) -> None:
    phone, laptop, bob = clients
    me = user_id(bob)
    chat = (await phone.conversations.get_or_create_direct(me)).conversation_id
    await phone.conversations.set_retention(chat, RELAY_ONLY)
    view = ConversationView(chat, me)
    async with listening(phone), listening(laptop), bob.connect() as device:
        last = [await phone.messages.send(chat, f"word {number}") for number in range(5)][-1]

        async def follow() -> None:
            async for event in device:
                view.apply(event)

        following = asyncio.create_task(follow())

        async def is_removed() -> bool:
            return (await bob.conversations.get(chat)).first_seq > last.seq

        await eventually(is_removed, timeout=20)
        device.refresh(chat)
        await eventually(lambda: view.head_seq >= last.seq)
        assert (await bob.conversations.get(chat)).unread_count == 5
        view.apply_conversation(await bob.conversations.get(chat))
        assert [each.text for each in view.messages] == [f"word {number}" for number in range(5)]
        assert view.unread_count == 5
        device.mark_read(chat, last.seq)
        await eventually(lambda: view.unread_count == 0)
        following.cancel()
