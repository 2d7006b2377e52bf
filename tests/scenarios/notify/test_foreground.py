"""The trace of pushes tells that a device was in the foreground, wherever the home of the user is."""

from __future__ import annotations

import pytest

from parley.chat.v1 import chat_pb2
from parley.internal.v1 import directory_pb2, notify_pb2
from tests.eventually import eventually
from tests.raw.directory import Directory
from tests.raw.pushes import Pushes
from tests.raw.world import World

pytestmark = pytest.mark.scenario

SILENCE_S = 10.0
PATIENCE_S = 20.0


async def test_trace_tells_that_a_device_was_in_the_foreground(world: World, pushes: Pushes) -> None:
    alice, bob = await world.users("alice", "bob")
    for device in (alice, bob):
        await pushes.register(device)
        await device.connect()
    direct = await alice.direct(bob)
    await alice.sent(direct, "hello")
    seq = await alice.sent(direct, "hello again")
    await bob.has(direct, "hello", "hello again")
    assert await pushes.unpushed(bob) == [(direct, seq, bob.device_id)]
    [traced] = (await pushes.call_admin(notify_pb2.TracePushesRequest(user_id=bob.user_id))).decisions
    assert (traced.conversation_id, traced.seq) == (direct, seq)
    assert await pushes.unpushed(alice) == [], "her own messages notify her of nothing"
    assert pushes.recorded(alice, bob) == []


async def test_what_came_before_a_device_fell_silent_is_pushed(world: World, pushes: Pushes) -> None:
    """A device in a tunnel is taken for in the foreground until it was silent for 10 s."""
    alice, bob, carol = await world.users("alice", "bob", "carol")
    for device in (bob, carol):
        await pushes.register(device)
    for device in (alice, bob, carol):
        await device.connect()
    group = await alice.group("Friday", [bob, carol])
    read = await alice.sent(group, "hello")
    await bob.receipt(group, read=read)
    pushes.heard.remove(bob)
    unread = await alice.sent(group, "are you there?")
    assert pushes.recorded(bob) == []
    await eventually(lambda: pushes.recorded(bob), SILENCE_S + PATIENCE_S)
    await pushes.wait_drained()
    assert pushes.kinds(bob) == [("message", unread)]
    assert pushes.recorded(carol) == [], "her device was heard"


async def test_every_chat_server_knows_who_is_in_the_foreground(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    laptop = await world.add_device(bob)
    for device in (alice, bob, laptop):
        await device.connect()
    direct = await alice.direct(bob)
    seq = await alice.sent(direct, "hello")
    await bob.has(direct, "hello")
    await bob.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest(activity=chat_pb2.ACTIVITY_BACKGROUND))
    await bob.stream.next_frame("heartbeat")
    request = directory_pb2.DescribeForegroundRequest(user_id=bob.user_id)
    for server in range(len(world.stack.chat_servers)):
        directory = Directory(world, server)

        async def is_in_background(directory: Directory = directory) -> bool:
            return list((await directory.call(request)).device_ids) == [laptop.device_id]

        await eventually(is_in_background)
        entry = (await directory.call(request)).last_entry
        assert (entry.conversation_id, entry.seq) == (direct, seq)
    for device in (bob, laptop):
        await device.close()

    async def is_forgotten() -> bool:
        return bool(await directory.call(request) == directory_pb2.DescribeForegroundResponse())

    await eventually(is_forgotten)
