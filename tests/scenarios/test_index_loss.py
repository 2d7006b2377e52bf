"""The change index is flushed, stopped, killed or frozen: messages are delivered live, and no device misses one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import pytest
from redis.asyncio import Redis

from parley.chat.v1 import chat_pb2, conversation_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.follower import Follower
from tests.raw.world import World

pytestmark = [pytest.mark.scenario, pytest.mark.fault]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Alice sends, bob is connected, carol is offline with a valid cursor; `group` is their group."""

    world: World
    alice: Follower
    bob: Follower
    carol: RawDevice
    group: str

    async def send(self, *bodies: str) -> None:
        """Send texts as alice and wait until they are acknowledged and delivered live."""
        for body in bodies:
            self.alice.send(self.group, body)
        await self.alice.wait_acknowledged()
        await eventually(lambda: self.bob.device.bodies(self.group)[-len(bodies) :] == list(bodies))

    async def check_everybody_has(self, *bodies: str) -> bool:
        """Check that connected devices have all texts, and carol too after she resumes with her cursor.

        Each server sees an outage begin and end for itself; until all have, what she lacks may be named a little later.
        Returns whether it was named at once.
        """
        for device in (self.alice.device, self.bob.device):
            await device.has(self.group, *bodies)
            log = device.logs[self.group]
            assert sorted(log) == list(range(1, len(log) + 1))
        await self.carol.open(self.carol.cursor)
        at_once = self.group in (named := (await self.carol.changes())[0])
        while self.group not in named:
            named, _ = await self.carol.changes()
        after = max(self.carol.logs[self.group])
        [result] = (await self.carol.fetch(self.group, after, limit=500)).ranges
        assert result.complete
        assert self.carol.bodies(self.group) == list(bodies)
        await self.carol.close()
        return at_once


@pytest.fixture
async def scenario(fragile_world: World) -> AsyncIterator[Scenario]:
    alice, bob, carol = await fragile_world.users("alice", "bob", "carol")
    async with Follower(alice) as writer, Follower(bob) as listener:
        group = await alice.group("Weather", [bob, carol])
        scenario = Scenario(fragile_world, writer, listener, carol, group)
        await scenario.send("before")
        # After the scenario before this one the index may need a moment until it gives out cursors again.
        await eventually(partial(leaves_with_a_cursor, carol))
        yield scenario


async def leaves_with_a_cursor(device: RawDevice) -> bool:
    await device.connect()
    for conversation_id in await conversations_of(device):
        await device.fetch(conversation_id)
    await device.close()
    return device.cursor is not None


async def conversations_of(device: RawDevice) -> list[str]:
    listed = (await device.call(conversation_pb2.ListConversationsRequest())).conversations
    return [each.conversation_id for each in listed]


async def flush(world: World) -> None:
    async with Redis.from_url(world.stack.redis_url) as redis:
        await redis.flushall()


async def test_flushed_index_loses_no_message(scenario: Scenario) -> None:
    await flush(scenario.world)
    await scenario.send("after the flush")
    assert await scenario.check_everybody_has("before", "after the flush")


async def test_flush_before_catch_up_loses_no_message(scenario: Scenario) -> None:
    said = ["before"]
    for number in range(10):
        await scenario.send(str(number))
        said.append(str(number))
        await flush(scenario.world)
        # At once, before anybody has noticed the loss by a probe of its own.
        assert await scenario.check_everybody_has(*said)


async def test_flush_before_coalesced_touch_loses_no_message(scenario: Scenario) -> None:
    said = ["before"]
    for number in range(10):
        await flush(scenario.world)
        await scenario.send(str(number))
        said.append(str(number))
        assert await scenario.check_everybody_has(*said)


async def test_index_stopped_during_sends_loses_no_message(scenario: Scenario) -> None:
    valkey = scenario.world.stack.processes["valkey"]
    await asyncio.to_thread(valkey.terminate)
    await scenario.send("without an index", "and delivered live")
    await scenario.carol.open(scenario.carol.cursor)
    named, resync = await scenario.carol.changes()
    assert (named, resync) == ([scenario.group], chat_pb2.Changes.RESYNC_INDEX_UNAVAILABLE)
    await scenario.carol.close()
    valkey.start()
    await scenario.send("while it comes back")
    await asyncio.to_thread(valkey.wait_healthy)
    await scenario.send("and when it is")
    await scenario.check_everybody_has(
        "before", "without an index", "and delivered live", "while it comes back", "and when it is"
    )


async def test_killed_index_without_data_loses_no_message(scenario: Scenario) -> None:
    valkey = scenario.world.stack.processes["valkey"]
    valkey.kill()
    await scenario.send("while it is dead")
    valkey.start()
    await asyncio.to_thread(valkey.wait_healthy)
    await flush(scenario.world)
    await scenario.send("while it knows nothing")
    await scenario.check_everybody_has("before", "while it is dead", "while it knows nothing")


async def test_killed_index_restarted_before_catch_up_loses_no_message(scenario: Scenario) -> None:
    valkey = scenario.world.stack.processes["valkey"]
    for number in range(3):
        scenario.alice.send(scenario.group, f"{number} before")
        valkey.kill()
        scenario.alice.send(scenario.group, f"{number} meanwhile")
        valkey.start()
        scenario.alice.send(scenario.group, f"{number} after")
    await scenario.alice.wait_acknowledged()
    said = [f"{number} {when}" for number in range(3) for when in ("before", "meanwhile", "after")]
    await scenario.check_everybody_has("before", *said)


async def test_frozen_index_loses_no_message(scenario: Scenario) -> None:
    valkey = scenario.world.stack.processes["valkey"]
    valkey.freeze()
    try:
        await scenario.send("while it hangs", "and hangs")
    finally:
        valkey.resume()
    await scenario.send("thawed")
    await scenario.check_everybody_has("before", "while it hangs", "and hangs", "thawed")


async def test_cursor_from_outage_loses_no_message(scenario: Scenario) -> None:
    """Devices that resume without the index keep their old cursor, or none, and miss no message."""
    valkey, dave = scenario.world.stack.processes["valkey"], await scenario.world.add_device(scenario.carol)
    await asyncio.to_thread(valkey.terminate)
    await scenario.send("in the outage")
    await dave.connect()
    assert dave.cursor is None
    await dave.fetch(scenario.group)
    await dave.close()
    valkey.start()
    await asyncio.to_thread(valkey.wait_healthy)
    await scenario.send("after it")
    await dave.open(dave.cursor)
    named, _ = await dave.changes()
    assert named == [scenario.group]
    await scenario.check_everybody_has("before", "in the outage", "after it")
