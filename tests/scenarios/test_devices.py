"""Several devices of one account, and one device with several streams."""

from __future__ import annotations

import pytest

from parley.chat.v1 import chat_pb2
from tests.raw.device import RawDevice
from tests.raw.world import World
from tests.scenarios.conftest import Scene

pytestmark = pytest.mark.scenario


async def beats(device: RawDevice) -> None:
    await device.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest())
    await device.stream.next_frame("heartbeat")


async def test_newer_stream_supersedes_older_one(world: World) -> None:
    home, second, third = world.servers
    [alice] = await world.users_where([home])
    for older, newer in ((second, third), (second, second), (home, second), (second, home)):
        await alice.connect(at=older)
        first = alice.stream
        await alice.connect(at=newer)
        assert (await first.final_error()).code_and_reason == ("ABORTED", "SESSION_SUPERSEDED")
        assert (await first.wait_ended()).code_and_reason == ("OK", "")
        await beats(alice)
        await alice.close()


async def test_stream_that_was_given_up_supersedes_no_later_one(world: World) -> None:
    home, second, third = world.servers
    [alice] = await world.users_where([home])
    for later, given_up in ((second, third), (home, second), (second, home)):
        kept = alice.dial(at=later)
        await kept.send_frame(hello=chat_pb2.Hello(instance_id="program", stream_number=2))
        await kept.next_frame("changes")
        late = alice.dial(at=given_up)
        await late.send_frame(hello=chat_pb2.Hello(instance_id="program", stream_number=1))
        assert (await late.final_error()).code_and_reason == ("ABORTED", "SESSION_SUPERSEDED")
        await kept.send_frame(heartbeat=chat_pb2.HeartbeatRequest())
        await kept.next_frame("heartbeat")
        await kept.close()


async def test_superseded_stream_receives_pending_answers(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    conversation = await alice.direct(bob)
    await alice.connect(at=world.servers[0])
    first = alice.stream
    keys = [await alice.send(conversation, str(number)) for number in range(40)]
    # Frames are taken in in order: once this one is answered, so are the sends taken in.
    await beats(alice)
    await alice.open(at=world.servers[1])
    assert (await first.final_error()).code_and_reason == ("ABORTED", "SESSION_SUPERSEDED")
    assert (await first.wait_ended()).code_and_reason == ("OK", "")
    answers = [alice.answers.pop(key) for key in keys]
    assert [[each.appended.seq for each in answer] for answer in answers] == [[seq] for seq in range(2, 42)]


async def test_two_devices_of_one_user_stay_connected(world: World) -> None:
    phone = await world.user("alice")
    laptop = await world.add_device(phone)
    for device in (phone, laptop):
        await device.connect()
    for device in (phone, laptop):
        await beats(device)


async def test_half_closed_stream_still_receives(scene: Scene) -> None:
    alice, bob = scene.alice, scene.bob
    await bob.connect()
    key = await bob.send(scene.conversation, "this, and no more from me")
    await bob.stream.half_close()
    assert (await bob.next_result(key)).HasField("appended")
    await alice.sent(scene.conversation, "still there?")
    await bob.has(scene.conversation, "this, and no more from me", "still there?")
    assert bob.stream.open


@pytest.mark.parametrize("how", ["at home", "away"])
async def test_all_devices_of_both_users_receive_same_log(world: World, how: str) -> None:
    phone, bob = await world.users("alice", "bob")
    tablet, laptop = await world.add_device(phone), await world.add_device(phone)
    bobs_watch = await world.add_device(bob)
    conversation = await phone.direct(bob)
    everybody = [phone, tablet, laptop, bob, bobs_watch]
    for number, device in enumerate(everybody):
        await device.connect(at=world.home_of(device.user_id) if how == "at home" else world.servers[number % 3])
    await phone.sent(conversation, "from the phone")
    await laptop.sent(conversation, "from the laptop")
    await bobs_watch.sent(conversation, "from the watch")
    for device in everybody:
        await device.has(conversation, "from the phone", "from the laptop", "from the watch")
        assert device.live_seqs(conversation) == [2, 3, 4]


async def test_client_message_ids_reach_only_senders_devices(scene: Scene) -> None:
    alice, bob, conversation = scene.alice, scene.bob, scene.conversation
    tablet = await scene.world.add_device(alice)
    for device in (tablet, bob):
        await device.connect()
    key = await alice.send(conversation, "mine")
    theirs = await bob.send(conversation, "his")
    for device in (alice, tablet, bob):
        await device.has_all(conversation, 3)
        live = {entry.client_message_id for entry in device.arrived if entry.seq > 1}
        fetched = {entry.client_message_id for entry in (await device.fetch(conversation, after_seq=1)).entries}
        assert live == fetched == ({"", key} if device is not bob else {"", theirs})


async def test_receipts_reach_readers_other_devices(scene: Scene) -> None:
    alice, bob, conversation = scene.alice, scene.bob, scene.conversation
    watch = await scene.world.add_device(bob)
    for device in (bob, watch):
        await device.connect()
    seq = await alice.sent(conversation, "read this")
    await watch.receipt(conversation, read=seq)
    await bob.has_receipts(conversation, bob, delivered=seq, read=seq)
    await bob.receipt(conversation, read=seq - 1)
    await bob.receipt(conversation, delivered=1)
    [result] = (await bob.fetch(conversation)).ranges
    marks = {mark.user_id: (mark.delivered_seq, mark.read_seq) for mark in result.watermarks}
    assert marks == {alice.user_id: (seq, seq), bob.user_id: (seq, seq)}, "they never go back"
