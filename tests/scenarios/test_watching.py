"""Presence: online is reported at once, offline after a delay, and only to users who may see it."""

from __future__ import annotations

import time

import pytest

from chat_service.home.presence import DEBOUNCE_S
from parley.chat.v1 import account_pb2, chat_pb2
from tests.raw.browser import Browser
from tests.raw.device import RawDevice
from tests.raw.world import World

pytestmark = pytest.mark.scenario


async def watch(device: RawDevice, *users: RawDevice) -> dict[str, bool]:
    request = chat_pb2.WatchPresenceRequest(user_ids=[each.user_id for each in users])
    await device.stream.send_frame(watch_presence=request)
    return online(await device.stream.next_frame("presence"))


def online(presence: chat_pb2.Presence) -> dict[str, bool]:
    return {each.user_id: each.online for each in presence.users}


async def test_watcher_receives_current_presence_and_changes(world: World) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    for device in (alice, bob):
        await device.connect()
    assert await watch(alice, bob, carol) == {bob.user_id: True, carol.user_id: False}
    await carol.connect()
    assert online(await alice.stream.next_frame("presence")) == {carol.user_id: True}
    began = time.monotonic()
    await bob.close()
    assert online(await alice.stream.next_frame("presence")) == {bob.user_id: False}
    assert time.monotonic() - began >= DEBOUNCE_S - 0.5
    assert await watch(alice) == {}
    await bob.connect()
    await alice.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest())
    await alice.stream.next_frame("heartbeat")
    assert alice.stream.kinds.count("presence") == 4, "who watches nobody is told nothing"


async def test_quick_reconnect_is_not_reported_as_offline(world: World) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    laptop = await world.add_device(bob)
    for device in (alice, bob, laptop, carol):
        await device.connect()
    assert await watch(alice, bob, carol) == {bob.user_id: True, carol.user_id: True}
    await bob.close()
    await laptop.close()
    await bob.connect()
    # Carol leaves later, and for good: before alice is told so, she would be told that bob had gone.
    await carol.close()
    assert online(await alice.stream.next_frame("presence")) == {carol.user_id: False}
    assert alice.stream.kinds.count("presence") == 2


async def test_presence_crosses_homes_and_edges_on_different_servers(world: World) -> None:
    first, second, third = world.servers
    [alice], [bob] = await world.users_where([first]), await world.users_where([second])
    await alice.connect(at=third)
    assert await watch(alice, bob) == {bob.user_id: False}
    await bob.connect(at=first)
    assert online(await alice.stream.next_frame("presence")) == {bob.user_id: True}


async def test_browser_watches_by_call(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    await bob.connect()
    tab = Browser(world.stack.door, alice.token)
    request = chat_pb2.WatchPresenceRequest(user_ids=[bob.user_id])
    assert (await tab.refusal(request)).code_and_reason == ("FAILED_PRECONDITION", "STREAM_NOT_CONNECTED")
    await tab.subscribe(at=world.servers[0])
    answer = await tab.ask(request, at=world.servers[1])
    assert online(answer.presence) == {bob.user_id: True}
    await bob.close()
    assert online(await tab.next("presence")) == {bob.user_id: False}
    await tab.close()


async def test_block_ends_existing_presence_subscription(world: World) -> None:
    first, second, third = world.servers
    [alice], [bob] = await world.users_where([first]), await world.users_where([second])
    dave = await world.user("dave")
    await alice.connect(at=third)
    await bob.connect(at=first)
    await dave.connect()
    assert await watch(dave, bob) == {bob.user_id: True}
    for device, other in ((alice, bob), (bob, alice)):
        assert await watch(device, other) == {other.user_id: True}
    await bob.call(account_pb2.BlockUserRequest(user_id=alice.user_id))
    # As far as the two see, the other went; that one comes and goes is told to dave alone.
    for device, other in ((alice, bob), (bob, alice)):
        assert online(await device.stream.next_frame("presence")) == {other.user_id: False}
    await bob.close()
    assert online(await dave.stream.next_frame("presence")) == {bob.user_id: False}
    await bob.connect(at=first)
    assert online(await dave.stream.next_frame("presence")) == {bob.user_id: True}
    [carol] = await world.users("carol")
    assert await watch(alice, bob, carol) == {carol.user_id: False}
    assert alice.stream.kinds.count("presence") == 3


async def test_presence_of_blocking_user_is_hidden(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    for device in (alice, bob):
        await device.connect()
    await bob.call(account_pb2.BlockUserRequest(user_id=alice.user_id))
    assert await watch(alice, bob) == {}
    assert await watch(bob, alice) == {}
