"""Silent and cut devices, as a watcher sees them: offline after 10 s, and not before."""

from __future__ import annotations

import time

import pytest

from parley.chat.v1 import account_pb2, chat_pb2
from tests.eventually import eventually
from tests.proxy.wire import Relay
from tests.raw.device import RawDevice
from tests.raw.presence import BACKGROUND, OFFLINE, ONLINE, show, wait_present
from tests.raw.watcher import StreamWatcher, beating
from tests.raw.world import World

pytestmark = pytest.mark.scenario

SILENCE_S = 10.0
GRACE_S = 3.0
# What a slow machine may add to a promised time.
MARGIN_S = 3.0


async def beat(device: RawDevice, activity: chat_pb2.Activity.ValueType = chat_pb2.ACTIVITY_FOREGROUND) -> float:
    """Send a heartbeat; return when it was sent."""
    at = time.monotonic()
    await device.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest(activity=activity))
    await device.stream.next_frame("heartbeat")
    return at


async def test_silent_devices_go_offline_each_after_its_limit(world: World) -> None:
    alice, frozen, held, second, beater, sleeper, phone = await world.users("alice", *["somebody"] * 6)
    tablet = await world.add_device(phone)
    others = (frozen, held, second, beater, sleeper, phone)
    await show(*others)
    async with Relay(world.stack.door) as relay, beating([alice, beater, tablet]):
        for device in (alice, *others, tablet):
            await device.connect(at=relay.address if device is held else "")
        await wait_present(*others)
        watcher = StreamWatcher(alice)
        assert await watcher.watch(*others) == [ONLINE] * len(others)
        slept_at = await beat(sleeper, chat_pb2.ACTIVITY_BACKGROUND)
        await watcher.wait_state(sleeper, BACKGROUND)
        silent_since = {each.user_id: await beat(each) for each in (frozen, held)}
        relay.hold()
        for device in (frozen, held):
            after_s = await watcher.wait_state(device, OFFLINE, 20) - silent_since[device.user_id]
            assert SILENCE_S - 0.5 <= after_s < SILENCE_S + MARGIN_S
        assert watcher.state(second) == OFFLINE, "it was silent for as long"
        # Who is heard again is back at once, and has as long once more.
        came_at = await beat(second)
        assert await watcher.wait_state(second, ONLINE) - came_at < 1 + MARGIN_S
        after_s = await watcher.wait_state(second, OFFLINE, 20) - came_at
        assert SILENCE_S - 0.5 <= after_s < SILENCE_S + MARGIN_S
        assert time.monotonic() - slept_at > 2 * SILENCE_S - 1
        assert watcher.told(sleeper) == [ONLINE, BACKGROUND], "the background has another limit"
        for device in (beater, phone):
            assert watcher.told(device) == [ONLINE]
        assert frozen.stream.open
        assert held.stream.open


async def test_cut_device_is_offline_after_the_grace(world: World) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    await show(bob, carol)
    async with Relay(world.stack.door) as relay, beating([alice, carol]):
        await alice.connect()
        for device in (bob, carol):
            await device.connect(at=relay.address)
        await wait_present(bob, carol)
        watcher = StreamWatcher(alice)
        assert await watcher.watch(bob, carol) == [ONLINE, ONLINE]
        cut_at = time.monotonic()
        assert relay.cut()
        await carol.connect()
        after_s = await watcher.wait_state(bob, OFFLINE) - cut_at
        assert GRACE_S - 0.5 <= after_s < GRACE_S + MARGIN_S
        assert watcher.told(carol) == [ONLINE], "carol came back within the grace"


async def test_signed_out_device_is_offline_at_once(world: World) -> None:
    alice, bob, carol, dave = await world.users("alice", "bob", "carol", "dave")
    await show(bob, carol, dave)
    laptop, tablet = await world.add_device(carol), await world.add_device(carol)
    async with beating([alice, laptop]):
        for device in (alice, bob, laptop, dave):
            await device.connect()
        await wait_present(bob, carol, dave)
        watcher = StreamWatcher(alice)
        assert await watcher.watch(bob, carol, dave) == [ONLINE, ONLINE, ONLINE]
        # Dave only loses the connection, before the others are signed out.
        await dave.close()
        await bob.call(account_pb2.LogoutRequest())
        await tablet.call(account_pb2.RevokeDeviceRequest(device_id=laptop.device_id))
        grace_ends = await watcher.wait_state(dave, OFFLINE)
        for signed_out in (bob, carol):
            assert await watcher.wait_state(signed_out, OFFLINE) < grace_ends


async def test_user_is_offline_once_the_last_of_two_devices_has_left(world: World) -> None:
    first, second, third = world.servers
    alice, phone = await world.users("alice", "bob")
    laptop = await world.add_device(phone)
    await show(phone)
    async with beating([alice, phone, laptop]):
        await alice.connect(at=third)
        await phone.connect(at=first)
        await laptop.connect(at=second)
        await wait_present(phone)
        watcher = StreamWatcher(alice)
        assert await watcher.watch(phone) == [ONLINE]
        await phone.close()
        # The laptop leaves the foreground while the phone still counts, which is told once it does not.
        await beat(laptop, chat_pb2.ACTIVITY_BACKGROUND)
        await watcher.wait_state(phone, BACKGROUND)
        await beat(laptop)
        await watcher.wait_state(phone, ONLINE)
        await laptop.close()
        await watcher.wait_state(phone, OFFLINE)
        assert watcher.told(phone) == [ONLINE, BACKGROUND, ONLINE, OFFLINE]
        await eventually(lambda: watcher.presences[phone.user_id].HasField("last_seen_time"))
