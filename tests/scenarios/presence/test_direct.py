"""Watching by the call of the presence service itself, without a stream to chat."""

from __future__ import annotations

import asyncio
import time

import pytest

from parley.presence.v1 import presence_pb2
from tests.eventually import eventually
from tests.raw.presence import ACQUAINTED, EVERYONE, NOBODY, ONLINE, show
from tests.raw.watcher import DirectWatcher
from tests.raw.world import World

pytestmark = pytest.mark.scenario

MARGIN_S = 3.0


async def test_silent_watch_is_kept_alive_by_heartbeats(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    await show(bob)
    watcher = await DirectWatcher.open(world, alice, bob)
    began = time.monotonic()
    assert watcher.snapshot is not None
    interval_s = watcher.snapshot.heartbeat_interval.seconds
    await eventually(lambda: len(watcher.kinds) > 1, interval_s + MARGIN_S)
    assert watcher.kinds == ["snapshot", "heartbeat"]
    assert time.monotonic() - began > interval_s - 1
    await bob.connect()
    await watcher.wait_state(bob, ONLINE)
    assert watcher.kinds == ["snapshot", "heartbeat", "changes"]
    await watcher.close()


async def test_second_watch_of_a_device_supersedes_the_first_at_any_server(world: World) -> None:
    alice, bob, *others = await world.users("alice", "bob", *["carol"] * 3)
    tablet = await world.add_device(alice)
    await show(bob, *others)
    first, second = (replica.address for replica in world.stack.replicas("presence"))
    orders = ((first, first), (first, second), (second, first))
    for (before, after), carol in zip(orders, others, strict=True):
        old = await DirectWatcher.open(world, alice, bob, at=before)
        other = await DirectWatcher.open(world, tablet, bob, at=before)
        new = await DirectWatcher.open(world, alice, carol, at=after)
        assert (await old.wait_ended()).code_and_reason == ("ABORTED", "SESSION_SUPERSEDED")
        await carol.connect()
        await new.wait_state(carol, ONLINE)
        assert other.end is None, "another device has a watch of its own"
        for watcher in (other, new):
            await watcher.close()


async def test_watches_that_begin_at_once_leave_exactly_one(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    await show(bob)
    addresses = [replica.address for replica in world.stack.replicas("presence")] * 4
    watchers = [DirectWatcher(alice, world.channel(address), [bob]) for address in addresses]
    await eventually(lambda: sum(each.end is None for each in watchers) == 1)
    [left] = [each for each in watchers if each.end is None]
    await bob.connect()
    await left.wait_state(bob, ONLINE)
    await left.close()
    for each in watchers:
        assert each is left or (await each.wait_ended()).reason == "SESSION_SUPERSEDED"


async def test_settings_are_kept_in_part_and_default_to_acquainted(world: World) -> None:
    alice = await world.user("alice")

    async def settings() -> tuple[int, int]:
        found = (await alice.call(presence_pb2.GetVisibilityRequest())).visibility
        return found.online, found.last_seen

    async def change(**fields: presence_pb2.Audience.ValueType) -> tuple[int, int]:
        request = presence_pb2.SetVisibilityRequest(visibility=presence_pb2.Visibility(**fields))
        found = (await alice.call(request)).visibility
        assert (found.online, found.last_seen) == await settings()
        return found.online, found.last_seen

    assert await settings() == (ACQUAINTED, ACQUAINTED)
    assert await change(online=EVERYONE) == (EVERYONE, ACQUAINTED)
    assert await change(last_seen=NOBODY) == (EVERYONE, NOBODY)
    assert await change() == (EVERYONE, NOBODY)
    unknown = presence_pb2.SetVisibilityRequest(visibility=presence_pb2.Visibility(online=9))  # type: ignore[arg-type]
    for request in (unknown, presence_pb2.SetVisibilityRequest()):
        assert (await alice.refusal(request)).code_and_reason == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert await settings() == (EVERYONE, NOBODY)


async def test_every_device_of_a_user_has_its_own_watch(world: World) -> None:
    phone, bob = await world.users("alice", "bob")
    await show(bob)
    devices = [phone, *[await world.add_device(phone) for _ in range(4)]]
    watchers = [await DirectWatcher.open(world, device, bob) for device in devices]
    await bob.connect()
    await asyncio.gather(*(each.wait_state(bob, ONLINE) for each in watchers))
    for each in watchers:
        await each.close()
