"""Chat servers die or freeze: their devices are offline after 11 s, unless they have come back elsewhere."""

from __future__ import annotations

import asyncio
import time

import pytest

from devstack.servers.service import ServiceReplica
from tests.eventually import eventually
from tests.raw.presence import OFFLINE, ONLINE
from tests.raw.world import World
from tests.scenarios.presence.audience import MARGIN_S, audience

pytestmark = [pytest.mark.scenario, pytest.mark.fault]

DEAD_S = 11.0
GRACE_S = 3.0


def server_at(world: World, address: str) -> ServiceReplica:
    return next(each for each in world.stack.chat_servers if each.address == address)


async def test_devices_of_killed_server_are_offline_unless_they_came_back(fragile_world: World) -> None:
    world = fragile_world
    killed, other, third = world.servers
    stays, returns, elsewhere, phone = users = await world.users("stays", "returns", "elsewhere", "phone")
    tablet = await world.add_device(phone)
    for device in (stays, returns, phone):
        await device.connect(home=killed)
    for device in (elsewhere, tablet):
        await device.connect(home=other)
    async with audience(world, users, [other, third]) as watching:
        watching.beating.append(tablet)
        for watcher in watching.watchers:
            assert watcher.states(users) == [ONLINE] * 4
        killed_at = time.monotonic()
        server_at(world, killed).kill()
        await returns.stream.wait_ended()
        await returns.connect(home=other)
        assert await watching.wait_state(stays, OFFLINE, 20) - killed_at < DEAD_S + MARGIN_S
        # A change of each, later, shows that nothing about it is on its way.
        for device in (returns, elsewhere, tablet):
            assert watching.told_offline(returns, elsewhere, phone) == []
            await device.close()
        for user in (returns, elsewhere, phone):
            await watching.wait_state(user, OFFLINE)
            assert [watcher.told(user) for watcher in watching.watchers] == [[ONLINE, OFFLINE]] * 2


async def test_devices_of_frozen_server_are_offline_until_it_continues(fragile_world: World) -> None:
    world = fragile_world
    frozen, other, third = world.servers
    stays, returns, holds = users = await world.users("stays", "returns", "holds")
    for device in (stays, returns):
        await device.connect(home=frozen)
    # The door may give up a server that does not answer; this stream leads past it.
    await holds.connect(at=frozen)
    async with audience(world, users, [other, third]) as watching:
        part, frozen_at = server_at(world, frozen), time.monotonic()
        part.freeze()
        await returns.connect(home=other)
        for user in (stays, holds):
            assert await watching.wait_state(user, OFFLINE, 20) - frozen_at < DEAD_S + MARGIN_S
        assert watching.told_offline(returns) == []
        # It is frozen for longer than its lease, so that it must begin anew.
        await eventually(lambda: time.monotonic() - frozen_at > DEAD_S + 1)
        part.resume()
        continued_at = time.monotonic()
        await asyncio.to_thread(part.wait_healthy)
        for user in (stays, holds):
            if not user.connected:
                await user.connect(home=other)
            await watching.wait_state(user, ONLINE, 20)
        assert time.monotonic() - continued_at < DEAD_S + MARGIN_S
        assert watching.told_offline(returns) == []
        for user in users:
            await user.close()
            await watching.wait_state(user, OFFLINE)
        assert [watcher.told(returns) for watcher in watching.watchers] == [[ONLINE, OFFLINE]] * 2


async def test_devices_of_stopped_server_are_not_told_offline_if_they_move(fragile_world: World) -> None:
    world = fragile_world
    stopped, other, third = world.servers
    moves, stays = users = await world.users("moves", "stays")
    for device in users:
        await device.connect(home=stopped)
    async with audience(world, users, [other, third]) as watching:
        part = server_at(world, stopped)
        part.request_stop()
        await stays.stream.wait_ended(20)
        left_at = time.monotonic()
        await moves.stream.wait_ended(20)
        await moves.connect(home=other)
        # The goodbye of its server may come a little later than the end of its stream.
        assert await watching.wait_state(stays, OFFLINE) - left_at < GRACE_S + 2 * MARGIN_S
        await asyncio.to_thread(part.wait_exited)
        await moves.close()
        await watching.wait_state(moves, OFFLINE)
        assert [watcher.told(moves) for watcher in watching.watchers] == [[ONLINE, OFFLINE]] * 2
