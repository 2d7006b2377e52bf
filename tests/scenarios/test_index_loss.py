"""The change index is lost: flushed, stopped, killed, frozen. Messages are delivered live, and nobody misses any."""

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
class Play:
    """Alice writes, bob stays and listens, carol is away with a good cursor; the group they share is `group`."""

    world: World
    alice: Follower
    bob: Follower
    carol: RawDevice
    group: str

    async def say(self, *bodies: str) -> None:
        """Alice says these, and they are taken and delivered live."""
        for body in bodies:
            self.alice.send(self.group, body)
        await self.alice.all_taken()
        await eventually(lambda: self.bob.device.bodies(self.group)[-len(bodies) :] == list(bodies))

    async def everybody_has(self, *bodies: str) -> bool:
        """Those who were there have all; so has carol, who comes back with the cursor she had, and stays a while.

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
async def play(fragile_world: World) -> AsyncIterator[Play]:
    alice, bob, carol = await fragile_world.users("alice", "bob", "carol")
    async with Follower(alice) as writer, Follower(bob) as listener:
        group = await alice.group("Weather", [bob, carol])
        play = Play(fragile_world, writer, listener, carol, group)
        await play.say("before")
        # After the play before this one the index may need a moment until it gives out cursors again.
        await eventually(partial(leaves_with_a_cursor, carol))
        yield play


async def leaves_with_a_cursor(device: RawDevice) -> bool:
    await device.attend()
    for conversation_id in await conversations_of(device):
        await device.fetch(conversation_id)
    await device.close()
    return device.cursor is not None


async def conversations_of(device: RawDevice) -> list[str]:
    listed = (await device.ask(conversation_pb2.ListConversationsRequest())).conversations
    return [each.conversation_id for each in listed]


async def flush(world: World) -> None:
    async with Redis.from_url(world.stack.redis_url) as redis:
        await redis.flushall()


async def test_flushed_index_loses_no_message(play: Play) -> None:
    await flush(play.world)
    await play.say("after the flush")
    assert await play.everybody_has("before", "after the flush")


async def test_flush_before_catch_up_loses_no_message(play: Play) -> None:
    said = ["before"]
    for number in range(10):
        await play.say(str(number))
        said.append(str(number))
        await flush(play.world)
        # At once, before anybody has noticed the loss by a probe of its own.
        assert await play.everybody_has(*said)


async def test_flush_before_coalesced_touch_loses_no_message(play: Play) -> None:
    said = ["before"]
    for number in range(10):
        await flush(play.world)
        await play.say(str(number))
        said.append(str(number))
        assert await play.everybody_has(*said)


async def test_index_stopped_during_sends_loses_no_message(play: Play) -> None:
    valkey = play.world.stack.parts["valkey"]
    await asyncio.to_thread(valkey.terminate)
    await play.say("without an index", "and delivered live")
    await play.carol.open(play.carol.cursor)
    named, resync = await play.carol.changes()
    assert (named, resync) == ([play.group], chat_pb2.Changes.RESYNC_INDEX_UNAVAILABLE)
    await play.carol.close()
    valkey.start()
    await play.say("while it comes back")
    await asyncio.to_thread(valkey.wait_healthy)
    await play.say("and when it is")
    await play.everybody_has(
        "before", "without an index", "and delivered live", "while it comes back", "and when it is"
    )


async def test_killed_index_without_data_loses_no_message(play: Play) -> None:
    valkey = play.world.stack.parts["valkey"]
    valkey.kill()
    await play.say("while it is dead")
    valkey.start()
    await asyncio.to_thread(valkey.wait_healthy)
    await flush(play.world)
    await play.say("while it knows nothing")
    await play.everybody_has("before", "while it is dead", "while it knows nothing")


async def test_killed_index_restarted_before_catch_up_loses_no_message(play: Play) -> None:
    valkey = play.world.stack.parts["valkey"]
    for number in range(3):
        play.alice.send(play.group, f"{number} before")
        valkey.kill()
        play.alice.send(play.group, f"{number} meanwhile")
        valkey.start()
        play.alice.send(play.group, f"{number} after")
    await play.alice.all_taken()
    said = [f"{number} {when}" for number in range(3) for when in ("before", "meanwhile", "after")]
    await play.everybody_has("before", *said)


async def test_frozen_index_loses_no_message(play: Play) -> None:
    valkey = play.world.stack.parts["valkey"]
    valkey.freeze()
    try:
        await play.say("while it hangs", "and hangs")
    finally:
        valkey.resume()
    await play.say("thawed")
    await play.everybody_has("before", "while it hangs", "and hangs", "thawed")


async def test_cursor_from_outage_loses_no_message(play: Play) -> None:
    """Devices that resume while the index is away keep their old cursor, or none, and lose nothing by it."""
    valkey, dave = play.world.stack.processes["valkey"], await play.world.another(play.carol)
    await asyncio.to_thread(valkey.terminate)
    await play.say("in the outage")
    await dave.attend()
    assert dave.cursor is None
    await dave.fetch(play.group)
    await dave.close()
    valkey.start()
    await asyncio.to_thread(valkey.wait_healthy)
    await play.say("after it")
    await dave.open(dave.cursor)
    named, _ = await dave.changes()
    assert named == [play.group]
    await play.everybody_has("before", "in the outage", "after it")
