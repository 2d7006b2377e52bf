"""Slow devices miss no entry if they resume reading, are disconnected otherwise, and delay no other device."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from chat_service.stream.handler import FLUSH_TIMEOUT_S
from devstack.services import CHAT
from devstack.stack import Stack
from parley.chat.v1 import entry_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.world import World

pytestmark = pytest.mark.scenario

PATIENCE_S = 3.0
# Larger than all that lies between a server and a device that does not read: windows, and Envoy's buffers.
MESSAGES, SIZE = 100, 60_000
# Two entries make a group.
HEAD = MESSAGES + 2


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system with small outboxes."""
    environment = {
        "PARLEY_OUTBOX_BYTES": "400000",
        "PARLEY_OUTBOX_PATIENCE_SECONDS": str(PATIENCE_S),
        "PARLEY_SENDS_BURST": "1000",
        "PARLEY_ENTRIES_BURST": "1000",
    }
    with Stack(tmp_path_factory.mktemp("small"), chat_servers=2, services=(CHAT,), environment=environment) as stack:
        yield stack


@pytest.fixture
async def small_world(small_stack: Stack) -> AsyncIterator[World]:
    async with World(small_stack) as world:
        yield world


def payload(number: int) -> entry_pb2.Content:
    data = number.to_bytes(4, "big") * (SIZE // 4)
    return entry_pb2.Content(custom=entry_pb2.CustomPayload(content_type="application/x-test", payload=data))


async def flood(alice: RawDevice, conversation: str) -> None:
    """Send more than all buffers hold, as alice; all of it is acknowledged."""
    for start in range(0, MESSAGES, 20):
        keys = [await alice.send(conversation, payload(number)) for number in range(start, start + 20)]
        for key in keys:
            assert (await alice.next_result(key, timeout=30)).HasField("appended")


async def test_device_resuming_reads_in_time_misses_no_entry(small_world: World) -> None:
    alice, bob, carol = await small_world.users("alice", "bob", "carol")
    group = await alice.group("Weather", [bob, carol])
    for device in (alice, bob, carol):
        await device.connect()
    bob.stream.reads.clear()
    await flood(alice, group)
    await eventually(lambda: caught_up(carol, group), 30)
    assert HEAD not in bob.logs[group]
    bob.stream.reads.set()
    # He reads what waited, is told that there is more, and asks for it.
    while group not in (await bob.changes())[0]:
        pass
    await eventually(lambda: caught_up(bob, group), 30)
    assert sorted(bob.logs[group]) == list(range(min(bob.logs[group]), HEAD + 1))


async def caught_up(device: RawDevice, conversation: str) -> bool:
    held = device.logs[conversation]
    after = 1
    while after + 1 in held:
        after += 1
    fetched = await device.fetch(conversation, after, limit=500)
    return fetched.ranges[0].complete and HEAD in held


async def test_non_reading_device_is_disconnected_and_can_resume(small_world: World) -> None:
    alice, bob, carol = await small_world.users("alice", "bob", "carol")
    group = await alice.group("Weather", [bob, carol])
    for device in (alice, bob, carol):
        await device.connect()
    bob.stream.reads.clear()
    cursor = bob.cursor
    reading = asyncio.create_task(resume_reading_after_disconnect(small_world.stack, bob))
    await flood(alice, group)
    await eventually(lambda: caught_up(carol, group), 30)
    await reading
    assert (await bob.stream.wait_ended()).code_and_reason == ("RESOURCE_EXHAUSTED", "SLOW_CONSUMER")
    await bob.open(cursor)
    assert group in (await bob.changes())[0]
    await eventually(lambda: caught_up(bob, group), 30)


async def resume_reading_after_disconnect(stack: Stack, device: RawDevice) -> None:
    """Resume reading some time after the disconnect: later than a stream is flushed that ends for another reason."""
    await eventually(lambda: disconnect_logged(stack, device), 60)
    # No event tells that this time has passed.
    await asyncio.sleep(FLUSH_TIMEOUT_S + 1)
    device.stream.reads.set()


def disconnect_logged(stack: Stack, device: RawDevice) -> bool:
    """Return true if a server has logged the disconnect."""
    lines = [line for server in stack.chat_servers for line in server.log.read_text().splitlines()]
    return any("slow consumer disconnected" in line and device.user_id in line for line in lines)
