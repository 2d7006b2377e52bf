"""Pushes from a send to the provider: to users none of whose devices is in the foreground, withdrawn once read."""

from __future__ import annotations

import pytest

from parley.chat.v1 import chat_pb2
from tests.eventually import eventually
from tests.raw.device import new_id
from tests.raw.pushes import Pushes
from tests.raw.world import World

pytestmark = pytest.mark.scenario


async def test_message_to_an_offline_user_is_pushed_once_to_each_token(world: World, pushes: Pushes) -> None:
    alice, bob = await world.users("alice", "bob")
    devices = [bob, await world.add_device(bob), await world.add_device(bob)]
    for device in (alice, *devices):
        await pushes.register(device)
    await alice.connect()
    direct = await alice.direct(bob)
    seq = await alice.sent(direct, "see you at 8")
    await eventually(lambda: all(pushes.recorded(device) for device in devices), 20)
    await pushes.wait_drained()
    assert [pushes.kinds(device) for device in devices] == [[("message", seq)]] * 3
    assert pushes.recorded(alice) == []


async def test_only_users_without_a_foreground_device_are_pushed(world: World, pushes: Pushes) -> None:
    alice, bob, carol, dave = await world.users("alice", "bob", "carol", "dave")
    laptop = await world.add_device(carol)
    for device in (bob, carol, laptop, dave):
        await pushes.register(device)
    for device in (alice, bob, carol, laptop):
        await device.connect()
    for device in (bob, carol):
        await pushes.move_to_background(device)
    group = await alice.group("Friday", [bob, carol, dave])
    seq = await alice.sent(group, "hello")
    for device in (bob, dave):
        await eventually(lambda device=device: ("message", seq) in pushes.kinds(device), 20)  # type: ignore[misc]
    await pushes.wait_drained()
    assert pushes.recorded(carol, laptop) == [], "the laptop is in the foreground"
    # A connected device in the background gets the entry as well.
    await bob.has(group, "hello")
    await bob.receipt(group, read=seq)
    await eventually(lambda: "read" in {kind for kind, _ in pushes.kinds(bob)}, 20)


async def test_message_that_is_deleted_before_the_push_is_not_shown(world: World, pushes: Pushes) -> None:
    alice, bob = await world.users("alice", "bob")
    await pushes.register(bob)
    for device in (alice, bob):
        await device.connect()
    direct = await alice.direct(bob)
    seq = await alice.sent(direct, "oops")
    entry = alice.logs[direct][seq]
    await alice.call(
        chat_pb2.DeleteMessageRequest(request_id=new_id(), conversation_id=direct, target_seq=seq, for_all=True)
    )
    await pushes.queue([entry], bob)
    await pushes.wait_drained()
    assert pushes.recorded(bob) == []
    assert await pushes.outcomes(bob) == ["deleted"]


async def test_notification_of_a_message_that_is_deleted_is_withdrawn(world: World, pushes: Pushes) -> None:
    alice, bob = await world.users("alice", "bob")
    await pushes.register(bob)
    await alice.connect()
    direct = await alice.direct(bob)
    seq = await alice.sent(direct, "oops")
    await eventually(lambda: pushes.kinds(bob) == [("message", seq)], 20)
    await alice.call(
        chat_pb2.DeleteMessageRequest(request_id=new_id(), conversation_id=direct, target_seq=seq, for_all=True)
    )
    await eventually(lambda: pushes.kinds(bob) == [("message", seq), ("read", seq)], 20)
    assert pushes.recorded(bob)[-1]["badge"] == 1, "a deleted message counts as unread, as in the list"
