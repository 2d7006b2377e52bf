"""Redis is flushed, killed or frozen: presence is complete again within 5 s, and nobody is told offline by it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import grpc
import pytest
from redis.asyncio import Redis

from parley.chat.v1 import chat_pb2
from parley.presence.v1 import presence_pb2
from presence_service.storage.last_seen import MongoLastSeenStore
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.presence import OFFLINE, ONLINE, show
from tests.raw.watcher import StreamWatcher
from tests.raw.world import World
from tests.scenarios.presence.audience import MARGIN_S, RESTORE_S, audience, last

pytestmark = [pytest.mark.scenario, pytest.mark.fault]

GRACE_S = 3.0
FROZEN_S = 3.0
# The last times of users are written to MongoDB behind their transitions.
BEHIND_S = 2.0


async def flush(world: World) -> None:
    async with Redis.from_url(world.stack.redis_url) as redis:
        await redis.flushall()


async def restart(world: World) -> None:
    """Kill Redis, and start it again without its data."""
    await flush(world)
    valkey = world.stack.processes["valkey"]
    valkey.kill()
    valkey.start()
    await asyncio.to_thread(valkey.wait_healthy)


async def freeze(world: World) -> None:
    valkey = world.stack.processes["valkey"]
    valkey.freeze()
    await last(FROZEN_S)
    valkey.resume()


@pytest.mark.parametrize("strike", [flush, restart, freeze])
async def test_presence_is_rebuilt(fragile_world: World, strike: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    world = fragile_world
    *users, leaver, comer = await world.users(*["somebody"] * 3, "leaver", "comer")
    for user, server in zip((*users, leaver), (*world.servers, world.servers[0]), strict=True):
        await user.connect(home=server)
    # Of the first user, two chat servers report.
    tablet = await world.add_device(users[0])
    await tablet.connect(home=world.servers[1])
    await tablet.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest(activity=chat_pb2.ACTIVITY_BACKGROUND))
    phone = await world.user("phone")
    async with audience(world, [*users, leaver, comer], world.servers) as watching:
        struck = asyncio.create_task(strike(world))
        await leaver.close()
        await comer.open()
        await struck
        restored_at = time.monotonic()
        await watching.wait_state(comer, ONLINE, RESTORE_S + MARGIN_S)
        await watching.wait_state(leaver, OFFLINE, RESTORE_S + GRACE_S + MARGIN_S)
        # A watch that begins now is answered, and with the same.
        await phone.open()
        fresh = StreamWatcher(phone)
        found = await fresh.watch(*users, leaver, comer, timeout=RESTORE_S + MARGIN_S)
        assert found == [ONLINE, ONLINE, ONLINE, OFFLINE, ONLINE]
        assert time.monotonic() - restored_at < RESTORE_S + GRACE_S + 2 * MARGIN_S
        # The tablet's server may report before a presence server knows of the loss: background for a moment.
        assert watching.told_offline(*users) == []
        await tablet.close()
        for user in users:
            await user.close()
            await watching.wait_state(user, OFFLINE)
        told = {tuple(watcher.told(user)) for watcher in watching.watchers for user in users[1:]}
        assert told == {(ONLINE, OFFLINE)}


async def test_last_seen_survives_the_loss_of_redis(fragile_world: World) -> None:
    world = fragile_world
    alice, bob = await world.users("alice", "bob")
    await show(bob)
    await bob.connect()
    await bob.close()
    closed_at = time.monotonic()
    times = MongoLastSeenStore(world._store)
    await eventually(lambda: _is_stored(times, bob), BEHIND_S + MARGIN_S)
    assert time.monotonic() - closed_at < BEHIND_S + MARGIN_S
    await eventually(lambda: _last_seen(alice, bob))
    before = await _last_seen(alice, bob)
    await flush(world)
    await eventually(lambda: _last_seen(alice, bob), RESTORE_S + MARGIN_S)
    assert await _last_seen(alice, bob) == before
    await alice.open()
    watcher = StreamWatcher(alice)
    assert await watcher.watch(bob) == [OFFLINE]
    assert watcher.presences[bob.user_id].last_seen_time.seconds == before


async def _is_stored(times: MongoLastSeenStore, user: RawDevice) -> bool:
    return bool(await times.find_all([user.user_id]))


async def _last_seen(viewer: RawDevice, user: RawDevice) -> int:
    """Return when a user was last online, 0 if that is not told or presence cannot be asked now."""
    with suppress(grpc.aio.AioRpcError):
        found = await viewer.call(presence_pb2.GetPresenceRequest(user_ids=[user.user_id]))
        return int(found.presences[0].last_seen_time.seconds)
    return 0
