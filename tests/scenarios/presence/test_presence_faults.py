"""Presence servers die, freeze and restart: watchers keep the last state, and are told what changed meanwhile."""

from __future__ import annotations

import asyncio
import re
import time
import urllib.request
from collections.abc import Sequence

import pytest

from devstack.servers.service import ServiceReplica
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.presence import OFFLINE, ONLINE
from tests.raw.watcher import DirectWatcher
from tests.raw.world import World
from tests.scenarios.presence.audience import MARGIN_S, RESTORE_S, Audience, audience, last

pytestmark = [pytest.mark.scenario, pytest.mark.fault]

GRACE_S = 3.0
# A chat server leaves a presence server that has not answered for this long.
SILENCE_S = 5.0
AWAY_S = 6.0


def replicas(world: World) -> list[ServiceReplica]:
    return world.stack.replicas("presence")


async def reports_of(replica: ServiceReplica) -> float:
    """Return the number of chat servers that report to a presence server."""

    def read() -> str:
        with urllib.request.urlopen(f"http://{replica.metrics_address}/metrics", timeout=5) as page:
            return str(page.read().decode())

    [count] = re.findall(r"^parley_presence_reports (\S+)$", await asyncio.to_thread(read), re.MULTILINE)
    return float(count)


async def connect_everywhere(world: World, *users: RawDevice) -> None:
    """Connect each user at another chat server, in turn."""
    servers = world.servers
    for number, user in enumerate(users):
        await user.connect(home=servers[number % len(servers)])


async def reopen(world: World, device: RawDevice, user: RawDevice) -> DirectWatcher:
    """Watch a user through the door, again while the call is refused by a server that is shutting down."""
    found: list[DirectWatcher] = []

    async def is_open() -> bool:
        found.append(await DirectWatcher.open(world, device, user))
        return True

    await eventually(is_open, 20)
    return found[0]


async def expect_changes(watching: Audience, comer: RawDevice, leaver: RawDevice, within_s: float) -> None:
    """Check that every watcher is told who came and who left."""
    began = time.monotonic()
    await watching.wait_state(comer, ONLINE, within_s + MARGIN_S)
    await watching.wait_state(leaver, OFFLINE, within_s + GRACE_S + MARGIN_S - (time.monotonic() - began))


async def expect_unharmed(watching: Audience, users: Sequence[RawDevice]) -> None:
    """Check that nobody was told to be offline, and that the next change of each user is told."""
    assert watching.told_offline(*users) == []
    for user in users:
        await user.close()
    for user in users:
        await watching.wait_state(user, OFFLINE)
    assert {tuple(watcher.told(user)) for watcher in watching.watchers for user in users} == {(ONLINE, OFFLINE)}


@pytest.mark.parametrize("frozen", [False, True])
async def test_changes_are_told_while_one_presence_server_is_away(fragile_world: World, frozen: bool) -> None:
    world = fragile_world
    *users, leaver, comer = await world.users(*["somebody"] * 3, "leaver", "comer")
    await connect_everywhere(world, *users, leaver)
    async with audience(world, [*users, leaver, comer], world.servers) as watching:
        away = max([(await reports_of(each), each.name, each) for each in replicas(world)])[2]
        assert await reports_of(away) > 0
        away.freeze() if frozen else away.kill()
        await leaver.close()
        await comer.connect()
        await expect_changes(watching, comer, leaver, 2 * SILENCE_S)
        away.resume() if frozen else away.start()
        await asyncio.to_thread(away.wait_healthy)
        await comer.close()
        await watching.wait_state(comer, OFFLINE)
        await expect_unharmed(watching, users)


async def test_nobody_is_told_offline_while_presence_is_down(fragile_world: World) -> None:
    world = fragile_world
    *users, leaver, comer = await world.users(*["somebody"] * 3, "leaver", "comer")
    await connect_everywhere(world, *users, leaver)
    async with audience(world, [*users, leaver, comer], world.servers) as watching:
        for replica in replicas(world):
            replica.kill()
        await leaver.close()
        await comer.connect()
        await last(AWAY_S)
        assert watching.told_offline(*users, leaver) == []
        for replica in replicas(world):
            replica.start()
        for replica in replicas(world):
            await asyncio.to_thread(replica.wait_healthy)
        await expect_changes(watching, comer, leaver, RESTORE_S + MARGIN_S)
        await expect_unharmed(watching, users)


async def test_restart_of_both_presence_servers_in_turn_is_not_noticed(fragile_world: World) -> None:
    world = fragile_world
    *users, leaver, comer = await world.users(*["somebody"] * 3, "leaver", "comer")
    await connect_everywhere(world, *users, leaver)
    async with audience(world, [*users, leaver, comer], world.servers) as watching:
        for replica in replicas(world):
            await asyncio.to_thread(replica.terminate)
            replica.start()
            await asyncio.to_thread(replica.wait_healthy)
        await leaver.close()
        await comer.connect()
        await expect_changes(watching, comer, leaver, MARGIN_S)
        await expect_unharmed(watching, users)


async def test_direct_watch_ends_with_its_server_and_goes_on_at_another(fragile_world: World) -> None:
    world = fragile_world
    alice, bob, _ = await world.users("alice", "bob", "carol")
    await bob.connect()
    async with audience(world, [bob], world.servers[:1]):
        stopped = replicas(world)[0]
        watcher = await DirectWatcher.open(world, alice, bob, at=stopped.address)
        stopped.request_stop()
        end = await watcher.wait_ended(20)
        assert end.code_and_reason == ("UNAVAILABLE", "SERVER_DRAINING")
        assert end.retry_after
        again = await reopen(world, alice, bob)
        assert again.state(bob) == watcher.state(bob) == ONLINE
        await bob.close()
        await again.wait_state(bob, OFFLINE)
        await again.close()
        await asyncio.to_thread(stopped.wait_exited)
