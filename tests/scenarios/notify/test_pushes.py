"""Pushes of a running system: one for each token, and none to users who do not want it or may not have it.

The users are connected, so that chat queues nothing for them: the tests queue the entries themselves.
"""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2, entry_pb2
from parley.notify.v1 import notify_pb2
from tests.eventually import eventually
from tests.raw.device import new_id, text
from tests.raw.pushes import Pushes
from tests.raw.world import World

pytestmark = pytest.mark.scenario

FOREVER = Timestamp(seconds=253402300799)
ALL_DAY = notify_pb2.QuietHours(start_minute=0, end_minute=0, time_zone="Europe/Lisbon")


async def test_message_is_pushed_once_to_each_token(world: World, pushes: Pushes) -> None:
    alice, bob = await world.users("alice", "bob")
    devices = [bob, await world.add_device(bob), await world.add_device(bob)]
    for device in devices:
        await pushes.register(device)
    for device in (alice, bob):
        await device.connect()
    direct = await alice.direct(bob)
    seq = await alice.sent(direct, "see you at 8")
    await pushes.queue_sent(alice, direct, seq, bob, alice)
    await pushes.wait_drained()
    for device in devices:
        [push] = pushes.recorded(device)
        assert (push["title"], push["body"]) == ("alice", "see you at 8")
        assert (push["conversation_id"], push["collapse_id"], push["seq"]) == (direct, direct, seq)
        assert (push["badge"], push["encrypted"], push["provider"]) == (1, False, "fcm")
    assert await pushes.outcomes(bob) == ["accepted"] * 3
    assert await pushes.outcomes(alice) == []

    async def is_noted() -> bool:
        listed = (await bob.call(notify_pb2.ListPushTokensRequest())).push_tokens
        return [each.HasField("last_push_time") for each in listed] == [True] * 3

    await eventually(is_noted)


async def test_group_message_names_the_group_and_the_author(world: World, pushes: Pushes) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    for device in (bob, carol):
        await pushes.register(device, language="de")
    for device in (alice, bob, carol):
        await device.connect()
    group = await alice.group("Friday", [bob, carol])
    created = next(iter((await alice.fetch(group)).entries))
    await pushes.queue([created], bob, carol)
    await pushes.wait_drained()
    location = entry_pb2.Content(location=entry_pb2.Location(latitude=1, longitude=2))
    seq = await alice.sent(group, location)
    await pushes.queue_sent(alice, group, seq, bob)
    await pushes.wait_drained()
    assert [(each["title"], each["body"]) for each in pushes.recorded(bob)] == [
        ("Friday", "alice hat dich zur Gruppe hinzugefügt"),
        ("Friday", "alice: 📍 Standort"),
    ]
    assert len(pushes.recorded(carol)) == 1


async def test_muted_read_left_and_blocked_are_not_pushed(world: World, pushes: Pushes) -> None:
    alice, muted, reader, leaver, blocker, bob = await world.users("alice", "mia", "rita", "leo", "bea", "bob")
    for device in (muted, reader, leaver, blocker, bob):
        await pushes.register(device)
    for device in (alice, muted, reader, leaver, blocker, bob):
        await device.connect()
    group = await alice.group("Friday", [muted, reader, leaver, blocker, bob])
    seq = await alice.sent(group, "hello")
    await muted.call(conversation_pb2.SetMuteRequest(conversation_id=group, mute_until_time=FOREVER))
    await reader.receipt(group, read=seq)
    await alice.has_receipts(group, reader, delivered=seq, read=seq)
    await leaver.call(conversation_pb2.LeaveGroupRequest(request_id=new_id(), conversation_id=group))
    await blocker.call(account_pb2.BlockUserRequest(user_id=alice.user_id))
    await pushes.queue_sent(alice, group, seq, muted, reader, leaver, blocker, bob)
    await pushes.wait_drained()
    assert pushes.kinds(muted, reader, leaver, blocker, bob) == [("message", seq)]
    assert len(pushes.recorded(bob)) == 1
    outcomes = [await pushes.outcomes(each) for each in (muted, reader, leaver, blocker, bob)]
    assert outcomes == [["muted"], ["read"], ["not_a_member"], ["blocked"], ["accepted"]]


async def test_preferences_decide_what_is_pushed_and_shown(world: World, pushes: Pushes) -> None:
    alice, bob = await world.users("alice", "bob")
    await pushes.register(bob)
    await alice.connect()
    await bob.connect()
    group = await alice.group("Friday", [bob])
    own = await bob.sent(group, "mine")
    preferences = notify_pb2.Preferences(
        scope=notify_pb2.NOTIFICATION_SCOPE_MENTIONS,
        preview=notify_pb2.NOTIFICATION_PREVIEW_SENDER,
    )
    await bob.call(notify_pb2.SetPreferencesRequest(preferences=preferences))
    plain = await alice.sent(group, "not for bob")
    mention = entry_pb2.Mention(user_id=bob.user_id, offset=0, length=3)
    mentioned = await alice.sent(group, entry_pb2.Content(text=entry_pb2.Text(body="Bob?", mentions=[mention])))
    reply = text("yours")
    reply.reply_to_seq = own
    replied = await alice.sent(group, reply)
    for seq in (plain, mentioned, replied):
        await pushes.queue_sent(alice, group, seq, bob)
        await pushes.wait_drained()
    assert pushes.kinds(bob) == [("message", mentioned), ("message", replied)]
    for push in pushes.recorded(bob):
        assert (push["title"], push["body"]) == ("Friday", "alice: New message")
    assert await pushes.outcomes(bob) == ["accepted", "accepted", "excluded"]


async def test_nothing_but_withdrawals_is_sent_in_quiet_hours(world: World, pushes: Pushes) -> None:
    alice, bob = await world.users("alice", "bob")
    await pushes.register(bob)
    for device in (alice, bob):
        await device.connect()
    direct = await alice.direct(bob)
    loud = await alice.sent(direct, "in the evening")
    await pushes.queue_sent(alice, direct, loud, bob)
    await pushes.wait_drained()
    await bob.call(notify_pb2.SetPreferencesRequest(preferences=notify_pb2.Preferences(quiet_hours=ALL_DAY)))
    quiet = await alice.sent(direct, "at night")
    await pushes.queue_sent(alice, direct, quiet, bob)
    await pushes.wait_drained()
    assert pushes.kinds(bob) == [("message", loud)]
    assert await pushes.outcomes(bob) == ["quiet_hours", "accepted"]
    await bob.receipt(direct, read=loud)
    await alice.has_receipts(direct, bob, delivered=loud, read=loud)
    await pushes.queue_read(bob, direct, loud)
    await pushes.wait_drained()
    assert ("read", loud) in pushes.kinds(bob)


async def test_reaction_notifies_the_author_of_the_message(world: World, pushes: Pushes) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    for device in (bob, carol):
        await pushes.register(device)
    for device in (alice, bob, carol):
        await device.connect()
    group = await alice.group("Friday", [bob, carol])
    seq = await bob.sent(group, "mine")
    await alice.has_all(group, seq)
    reaction = chat_pb2.SetReactionRequest(request_id=new_id(), conversation_id=group, target_seq=seq, emoji="👍")
    await alice.call(reaction)
    await pushes.queue_sent(alice, group, seq + 1, bob, carol)
    await pushes.wait_drained()
    [push] = pushes.recorded(bob, carol)
    assert (push["token"], push["body"]) == (bob.device_id, "alice: Reacted 👍 to your message")


async def test_read_elsewhere_withdraws_the_notification(world: World, pushes: Pushes) -> None:
    alice, bob = await world.users("alice", "bob")
    await pushes.register(bob)
    laptop = await world.add_device(bob)
    await alice.connect()
    direct = await alice.direct(bob)
    seq = await alice.sent(direct, "hello")
    await eventually(lambda: pushes.kinds(bob) == [("message", seq)], 20)
    await laptop.connect()
    await laptop.receipt(direct, read=seq)
    await eventually(lambda: pushes.kinds(bob) == [("message", seq), ("read", seq)], 20)
    assert pushes.recorded(bob)[-1]["badge"] == 0


async def test_device_that_was_signed_out_is_not_pushed(world: World, pushes: Pushes) -> None:
    alice, bob = await world.users("alice", "bob")
    lost, left = await world.add_device(bob), await world.add_device(bob)
    for device in (bob, lost, left):
        await pushes.register(device)
    for device in (alice, bob):
        await device.connect()
    await bob.call(account_pb2.RevokeDeviceRequest(device_id=lost.device_id))
    await left.call(account_pb2.LogoutRequest())

    async def are_removed() -> bool:
        listed = (await bob.call(notify_pb2.ListPushTokensRequest())).push_tokens
        return [each.device_id for each in listed] == [bob.device_id]

    await eventually(are_removed)
    direct = await alice.direct(bob)
    seq = await alice.sent(direct, "hello")
    await pushes.queue_sent(alice, direct, seq, bob)
    await pushes.wait_drained()
    assert pushes.kinds(bob, lost, left) == [("message", seq)]


async def test_user_learns_why_nothing_was_pushed_and_can_test_it(world: World, pushes: Pushes) -> None:
    alice, bob = await world.users("alice", "bob")
    for device in (alice, bob):
        await device.connect()
    direct = await alice.direct(bob)
    await pushes.queue_sent(alice, direct, await alice.sent(direct, "hello"), bob)
    await pushes.wait_drained()
    assert await pushes.outcomes(bob) == ["no_token"]
    assert not (await bob.call(notify_pb2.SendTestPushRequest())).results
    await pushes.register(bob, language="de")
    [result] = (await bob.call(notify_pb2.SendTestPushRequest())).results
    assert (result.device_id, result.outcome) == (bob.device_id, notify_pb2.PUSH_OUTCOME_ACCEPTED)
    assert [each["title"] for each in pushes.recorded(bob)] == ["Testbenachrichtigung"]
