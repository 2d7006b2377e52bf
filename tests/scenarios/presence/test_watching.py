"""Watching over `Connect` and `Subscribe`: online at once, offline after a grace, and only for users who may see it."""

from __future__ import annotations

import time

import pytest

from parley.chat.v1 import account_pb2, chat_pb2
from tests.raw.browser import Browser
from tests.raw.presence import ACQUAINTED, BACKGROUND, NOBODY, OFFLINE, ONLINE, show, states, told, wait_present, watch
from tests.raw.world import World

pytestmark = pytest.mark.scenario

GRACE_S = 3.0
# What a slow machine may add to a promised time.
MARGIN_S = 3.0


async def test_watcher_receives_current_presence_and_changes(world: World) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    await show(bob, carol)
    for device in (alice, bob):
        await device.connect()
    await wait_present(bob)
    assert await watch(alice, bob, carol) == {bob.user_id: ONLINE, carol.user_id: OFFLINE}
    began = time.monotonic()
    await carol.connect()
    assert await told(alice) == {carol.user_id: ONLINE}
    assert time.monotonic() - began < 1 + MARGIN_S
    began = time.monotonic()
    await bob.close()
    assert await told(alice) == {bob.user_id: OFFLINE}
    assert GRACE_S - 0.5 <= time.monotonic() - began < GRACE_S + MARGIN_S
    assert await watch(alice) == {}
    assert await watch(carol, bob) == {bob.user_id: OFFLINE}
    await bob.connect()
    assert await told(carol) == {bob.user_id: ONLINE}
    await alice.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest())
    await alice.stream.next_frame("heartbeat")
    assert alice.stream.kinds.count("presence") == 4, "who watches nobody is told nothing"


async def test_quick_reconnect_is_not_reported_as_offline(world: World) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    await show(bob, carol)
    laptop = await world.add_device(bob)
    for device in (alice, bob, laptop, carol):
        await device.connect()
    await wait_present(bob, carol)
    assert await watch(alice, bob, carol) == {bob.user_id: ONLINE, carol.user_id: ONLINE}
    await bob.close()
    await laptop.close()
    await bob.connect()
    # Carol leaves later, and for good: before alice is told so, she would be told that bob had gone.
    await carol.close()
    assert await told(alice) == {carol.user_id: OFFLINE}
    assert alice.stream.kinds.count("presence") == 2


async def test_user_is_online_while_one_device_is_in_the_foreground(world: World) -> None:
    alice, phone = await world.users("alice", "bob")
    await show(phone)
    laptop = await world.add_device(phone)
    for device in (alice, phone, laptop):
        await device.connect()
    await wait_present(phone)
    assert await watch(alice, phone) == {phone.user_id: ONLINE}
    background = chat_pb2.HeartbeatRequest(activity=chat_pb2.ACTIVITY_BACKGROUND)
    await phone.stream.send_frame(heartbeat=background)
    await phone.stream.next_frame("heartbeat")
    await laptop.stream.send_frame(heartbeat=background)
    assert await told(alice) == {phone.user_id: BACKGROUND}
    await phone.close()
    await laptop.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest(activity=chat_pb2.ACTIVITY_FOREGROUND))
    assert await told(alice) == {phone.user_id: ONLINE}
    await laptop.close()
    [gone] = (await alice.stream.next_frame("presence")).users
    assert states([gone]) == {phone.user_id: OFFLINE}
    assert abs(gone.last_seen_time.seconds - time.time()) < 60
    assert gone.last_seen_time.nanos == 0
    assert alice.stream.kinds.count("presence") == 4


async def test_presence_crosses_edges_on_different_servers(world: World) -> None:
    first, second, third = world.servers
    [alice], [bob] = await world.users_where([first]), await world.users_where([second])
    await show(bob)
    await alice.connect(at=third)
    assert await watch(alice, bob) == {bob.user_id: OFFLINE}
    await bob.connect(at=first)
    assert await told(alice) == {bob.user_id: ONLINE}


async def test_browser_watches_by_call(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    await show(bob)
    await bob.connect()
    await wait_present(bob)
    tab = Browser(world.stack.door, alice.token)
    request = chat_pb2.WatchPresenceRequest(user_ids=[bob.user_id])
    assert (await tab.refusal(request)).code_and_reason == ("FAILED_PRECONDITION", "STREAM_NOT_CONNECTED")
    await tab.subscribe(at=world.servers[0])
    answer = await tab.ask(request, at=world.servers[1])
    assert states(answer.presence.users) == {bob.user_id: ONLINE}
    await bob.close()
    assert states((await tab.next("presence")).users) == {bob.user_id: OFFLINE}
    await tab.close()


async def test_block_ends_what_the_two_see_of_each_other(world: World) -> None:
    first, second, third = world.servers
    [alice], [bob] = await world.users_where([first]), await world.users_where([second])
    dave, carol = await world.users("dave", "carol")
    await show(alice, bob, carol)
    await alice.connect(at=third)
    await bob.connect(at=first)
    await dave.connect()
    await wait_present(alice, bob)
    assert await watch(dave, bob) == {bob.user_id: ONLINE}
    for device, other in ((alice, bob), (bob, alice)):
        assert await watch(device, other) == {other.user_id: ONLINE}
    await bob.call(account_pb2.BlockUserRequest(user_id=alice.user_id))
    # As far as the two see, the other went; that one comes and goes is told to dave alone.
    for device, other in ((alice, bob), (bob, alice)):
        [gone] = (await device.stream.next_frame("presence")).users
        assert states([gone]) == {other.user_id: OFFLINE}
        assert not gone.HasField("last_seen_time")
    await bob.close()
    assert await told(dave) == {bob.user_id: OFFLINE}
    await bob.connect(at=first)
    assert await told(dave) == {bob.user_id: ONLINE}
    assert await watch(alice, bob, carol) == {bob.user_id: OFFLINE, carol.user_id: OFFLINE}
    assert alice.stream.kinds.count("presence") == 3
    await bob.call(account_pb2.UnblockUserRequest(user_id=alice.user_id))
    assert await told(alice) == {bob.user_id: ONLINE}


async def test_user_is_seen_once_he_has_written_to_the_watcher(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    for device in (alice, bob):
        await device.connect()
    await wait_present(alice, bob)
    conversation = await alice.direct(bob)
    # Alice began the conversation, so bob may see her; she has nothing from him yet.
    assert await watch(bob, alice) == {alice.user_id: ONLINE}
    assert await watch(alice, bob) == {bob.user_id: OFFLINE}
    await bob.sent(conversation, "hello")
    assert await told(alice) == {bob.user_id: ONLINE}


async def test_change_of_visibility_is_seen_at_once(world: World) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    await show(bob)
    for device in (alice, bob, carol):
        await device.connect()
    await wait_present(bob)
    await bob.sent(await bob.direct(carol), "hello")
    for device in (alice, carol):
        assert await watch(device, bob) == {bob.user_id: ONLINE}
    await show(bob, online=ACQUAINTED)
    assert await told(alice) == {bob.user_id: OFFLINE}
    await show(bob, online=NOBODY)
    assert await told(carol) == {bob.user_id: OFFLINE}
    await show(bob)
    for device in (alice, carol):
        assert await told(device) == {bob.user_id: ONLINE}
    # Who shows it to nobody does not see it.
    await show(alice, online=NOBODY)
    assert await told(alice) == {bob.user_id: OFFLINE}
    assert carol.stream.kinds.count("presence") == 3
