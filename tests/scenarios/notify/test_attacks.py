"""Hostile events, tokens and calls: they disturb no pushes of others, and reach nothing of them."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from parley.internal.v1 import notify_pb2 as internal_pb2
from parley.notify.v1 import notify_pb2
from tests.eventually import eventually
from tests.raw.calls import PATIENCE
from tests.raw.device import RawDevice
from tests.raw.pushes import ADMIN, Pushes
from tests.raw.refusal import of_error
from tests.raw.world import World

pytestmark = pytest.mark.scenario


@pytest.mark.parametrize("payload", [b"", b"\xff" * 100, bytes(5_000_000), b"\x9a\x06\x03abc", b"\x12\x00"], ids=len)
async def test_event_that_nobody_can_read_delays_no_push(world: World, pushes: Pushes, payload: bytes) -> None:
    alice, bob = await world.users("alice", "bob")
    await pushes.register(bob)
    await alice.connect()
    await pushes.add_fields({"event": payload})
    await pushes.add_fields({"event": payload, "requeued": "1"})
    seq = await alice.sent(await alice.direct(bob), "hello")
    await eventually(lambda: pushes.kinds(bob) == [("message", seq)], 20)
    await pushes.wait_drained()


async def test_token_that_two_accounts_fight_for_belongs_to_one(world: World, pushes: Pushes) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    token = notify_pb2.FcmToken(token=f"fought {bob.device_id}")
    calls = [notify_pb2.RegisterPushTokenRequest(fcm=token), notify_pb2.UnregisterPushTokenRequest()]

    async def storm(device: RawDevice) -> None:
        for turn in range(30):
            await device.call(calls[turn % 2] if device is carol else calls[0])

    await asyncio.gather(storm(bob), storm(carol), storm(bob), storm(carol))
    await bob.call(calls[0])
    listed = [(await each.call(notify_pb2.ListPushTokensRequest())).push_tokens for each in (bob, carol)]
    assert [len(each) for each in listed] == [1, 0]
    await alice.connect()
    await alice.sent(await alice.direct(carol), "for one without a token")
    seq = await alice.sent(await alice.direct(bob), "for one")
    await eventually(lambda: len(pushes.recorded_for(token.token)) == 1)
    await pushes.wait_drained()
    assert [each["seq"] for each in pushes.recorded_for(token.token)] == [seq]


@pytest.mark.parametrize(
    "request_",
    [
        internal_pb2.TracePushesRequest(user_id="a" * 32),
        internal_pb2.SendTestPushRequest(user_id="a" * 32),
        internal_pb2.ListDeadLettersRequest(),
        internal_pb2.RequeueDeadLettersRequest(ids=["1-1"]),
    ],
    ids=lambda each: each.DESCRIPTOR.name,
)
async def test_user_cannot_call_methods_of_operators(world: World, pushes: Pushes, request_: Message) -> None:
    bob = await world.user("bob")
    method = ADMIN[request_.DESCRIPTOR.full_name]
    unary: Any = world.channel(pushes.servers[0].internal_address).unary_unary(
        f"/{method.containing_service.full_name}/{method.name}"
    )
    for metadata in (bob.metadata, ()):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await unary(request_.SerializeToString(), metadata=metadata, timeout=PATIENCE)
        assert of_error(refused.value).code == "UNAUTHENTICATED"


async def test_test_push_reaches_no_device_of_another_user(world: World, pushes: Pushes) -> None:
    bob, carol = await world.users("bob", "carol")
    await pushes.register(carol)
    response = await bob.call(notify_pb2.SendTestPushRequest(device_id=carol.device_id))
    assert (list(response.results), pushes.recorded(carol)) == ([], [])


@pytest.mark.parametrize(
    "request_",
    [
        notify_pb2.RegisterPushTokenRequest(fcm=notify_pb2.FcmToken(token="x" * 4097)),
        notify_pb2.RegisterPushTokenRequest(apns=notify_pb2.ApnsToken(token="ABCD", topic="t")),
        notify_pb2.RegisterPushTokenRequest(apns=notify_pb2.ApnsToken(token="abc", topic="t")),
        notify_pb2.RegisterPushTokenRequest(apns=notify_pb2.ApnsToken(token="ab\n", topic="t")),
        notify_pb2.RegisterPushTokenRequest(fcm=notify_pb2.FcmToken(token="x"), language="en\n"),
        notify_pb2.ListPushTokensRequest(page_size=-1),
        notify_pb2.ListPushTokensRequest(page_token="x" * 513),
        notify_pb2.ListPushTokensRequest(page_token="garbage"),
        notify_pb2.UnregisterPushTokenRequest(device_id="../../etc"),
        notify_pb2.UnregisterPushTokenRequest(device_id="a" * 32 + "\n"),
        notify_pb2.SetPreferencesRequest(),
        notify_pb2.SetPreferencesRequest(
            preferences=notify_pb2.Preferences(scope=notify_pb2.NotificationScope.ValueType(99))
        ),
        notify_pb2.SetPreferencesRequest(
            preferences=notify_pb2.Preferences(quiet_hours=notify_pb2.QuietHours(start_minute=1440, time_zone="UTC"))
        ),
        notify_pb2.SetPreferencesRequest(
            preferences=notify_pb2.Preferences(quiet_hours=notify_pb2.QuietHours(time_zone="../../../etc/passwd"))
        ),
        notify_pb2.SetPreferencesRequest(
            preferences=notify_pb2.Preferences(quiet_hours=notify_pb2.QuietHours(time_zone="\0"))
        ),
        notify_pb2.SendTestPushRequest(device_id="A" * 32),
    ],
    ids=str,
)
async def test_field_out_of_its_bounds_is_refused(world: World, request_: Message) -> None:
    bob = await world.user("bob")
    refusal = await bob.refusal(request_)
    assert refusal.code == "INVALID_ARGUMENT", refusal
