"""The bounds of watching: the number of watched users, and how often a change of one user is told."""

from __future__ import annotations

import asyncio
import uuid
from itertools import cycle

import pytest

from parley.chat.v1 import chat_pb2
from parley.presence.v1 import presence_pb2
from tests.raw.device import RawDevice
from tests.raw.presence import OFFLINE, ONLINE, show, states, wait_present
from tests.raw.refusal import of_status
from tests.raw.watcher import DirectWatcher, StreamWatcher, beating
from tests.raw.world import World

pytestmark = pytest.mark.scenario

WATCHED = 1000
SHOWN = 20
TOLD = 5
INTERVAL_S = 1.0


async def test_thousand_users_are_watched_at_once(world: World) -> None:
    alice, *shown = await world.users("alice", *["somebody"] * SHOWN)
    await show(*shown)
    ids = [uuid.uuid4().hex for _ in range(WATCHED - SHOWN)] + [each.user_id for each in shown]
    async with beating([alice, *shown]):
        await asyncio.gather(alice.connect(), *(each.connect() for each in shown[::2]))
        watcher = StreamWatcher(alice)
        await alice.stream.send_frame(watch_presence=chat_pb2.WatchPresenceRequest(user_ids=ids))
        answer = await alice.stream.next_frame("presence")
        assert [each.user_id for each in answer.users] == ids
        assert watcher.states(shown) == [ONLINE, OFFLINE] * (SHOWN // 2)
        direct = await _watch_ids(world, alice, ids)
        found = await alice.call(presence_pb2.GetPresenceRequest(user_ids=ids))
        assert states(found.presences) == states(answer.users) == states(direct.presences.values())
        await asyncio.gather(*(each.connect() for each in shown[1::2]))
        for each in shown:
            await watcher.wait_state(each, ONLINE)
            await direct.wait_state(each, ONLINE)
        assert watcher.frames <= 1 + SHOWN // 2, "it is told of what changed alone"
        await direct.close()


async def _watch_ids(world: World, device: RawDevice, ids: list[str]) -> DirectWatcher:
    users = [RawDevice(user_id, "", "", "", world.channel) for user_id in ids]
    return await DirectWatcher.open(world, device, *users)


async def test_more_than_a_thousand_users_are_refused(world: World) -> None:
    [alice] = await world.users("alice")
    await alice.connect()
    ids = [uuid.uuid4().hex for _ in range(WATCHED + 1)]
    for request in (presence_pb2.GetPresenceRequest(user_ids=ids), chat_pb2.WatchPresenceRequest(user_ids=ids)):
        assert (await alice.refusal(request)).code_and_reason == ("INVALID_ARGUMENT", "FIELD_INVALID")
    users = [RawDevice(user_id, "", "", "", world.channel) for user_id in ids]
    watch = DirectWatcher(alice, world.channel(world.stack.door), users)
    assert (await watch.wait_ended()).code_and_reason == ("INVALID_ARGUMENT", "FIELD_INVALID")
    await alice.stream.send_frame(watch_presence=chat_pb2.WatchPresenceRequest(user_ids=ids))
    error = await alice.stream.next_frame("error")
    assert of_status(error.status).code_and_reason == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert "presence" not in alice.stream.kinds


async def test_flapping_device_is_told_at_most_once_a_second(world: World) -> None:
    alice, dave, bob = await world.users("alice", "dave", "bob")
    await show(bob)
    async with beating([alice, dave]):
        for device in (alice, dave, bob):
            await device.connect()
        await wait_present(bob)
        watcher, direct = StreamWatcher(alice), await DirectWatcher.open(world, dave, bob)
        assert await watcher.watch(bob) == [ONLINE]
        flips = 0
        for activity in cycle((chat_pb2.ACTIVITY_BACKGROUND, chat_pb2.ACTIVITY_FOREGROUND)):
            if min(len(watcher.history), len(direct.history)) > TOLD:
                break
            await bob.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest(activity=activity))
            await bob.stream.next_frame("heartbeat")
            flips += 1
        await bob.close()
        for each in (watcher, direct):
            await each.wait_state(bob, OFFLINE)
            # The answer to the watch is not one of the changes.
            times = [told.at for told in each.history[1:]]
            assert len(times) <= (times[-1] - times[0]) / INTERVAL_S + 2
            assert len(times) < flips
        await direct.close()
