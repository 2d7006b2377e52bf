"""Under relay-only retention, devices of the SDK confirm delivery, also of their own user's messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from devstack.stack import Stack
from parley.chat.v1 import entry_pb2
from parley_client import Client, Device, EntryReceived
from tests.eventually import eventually
from tests.raw.world import PASSWORD

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

RELAY_ONLY = entry_pb2.Retention(relay_only=entry_pb2.Retention.RelayOnly())


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environment = {"PARLEY_RETENTION_PAUSE_SECONDS": "0.2"}
    with Stack(tmp_path_factory.mktemp("relay"), chat_servers=2, environment=environment) as stack:
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
