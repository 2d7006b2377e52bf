"""Authentication: accepted tokens, their lifetime, and the disconnect of signed-out devices."""

from __future__ import annotations

import uuid

import pytest

from parley.chat.v1 import account_pb2, chat_pb2
from servicekit.auth import TokenSigner, generate_signing_key
from tests.raw.device import RawDevice
from tests.raw.stream import FRAME_TIMEOUT_S
from tests.raw.world import World

pytestmark = pytest.mark.scenario

OUT = "UNAUTHENTICATED"
GRACE_S = 30
"""Seconds for which a stream may outlive its token."""


@pytest.fixture
async def alice(world: World) -> RawDevice:
    return await world.user("alice")


def bad_tokens(world: World, alice: RawDevice) -> dict[str, str]:
    """Return invalid tokens of alice with the reasons of their refusals."""
    who = alice.user_id, alice.device_id
    stranger = TokenSigner(generate_signing_key(), issuer="parley", audience="parley")
    head, body, signature = alice.token.split(".")
    return {
        "TOKEN_INVALID forged": stranger.sign(*who)[0],
        "TOKEN_INVALID damaged": f"{head}.{body}.{signature[::-1]}",
        "TOKEN_INVALID noise": "nonsense",
        "TOKEN_INVALID issuer": world.token(*who, issuer="somebody"),
        "TOKEN_INVALID user": world.token("alice", alice.device_id),
        "TOKEN_WRONG_AUDIENCE": world.token(*who, audience="another"),
        "TOKEN_EXPIRED": world.token(*who, lifetime=-100),
    }


async def test_invalid_token_is_refused_by_server(world: World, alice: RawDevice) -> None:
    for reason, token in bad_tokens(world, alice).items():
        stream = alice.dial(at=world.servers[0], token=token)
        assert (await stream.wait_ended()).code_and_reason == (OUT, reason.partition(" ")[0])


async def test_invalid_token_is_refused_by_door(world: World, alice: RawDevice) -> None:
    for reason, token in bad_tokens(world, alice).items():
        assert (await alice.dial(token=token).wait_ended()).code_and_reason == (OUT, reason.partition(" ")[0])


async def test_missing_token_is_refused(world: World) -> None:
    for address in (world.servers[0], world.stack.door):
        nobody = RawDevice("", "", "", world.stack.door, world.channel)
        assert (await nobody.dial(at=address, token="").wait_ended()).code_and_reason == (OUT, "TOKEN_MISSING")
        refusal = await nobody.refusal(chat_pb2.LocateRequest(), at=address)
        assert refusal.code_and_reason == (OUT, "TOKEN_MISSING")
        await nobody.close()


async def test_calls_with_invalid_tokens_are_refused(world: World, alice: RawDevice) -> None:
    for reason, token in bad_tokens(world, alice).items():
        alice.token = token
        refusal = await alice.refusal(chat_pb2.LocateRequest(), at=world.servers[0])
        assert refusal.code_and_reason == (OUT, reason.partition(" ")[0])


async def test_valid_token_of_unknown_device_is_refused(world: World, alice: RawDevice) -> None:
    token = world.token(alice.user_id, uuid.uuid4().hex)
    stream = alice.dial(token=token)
    await stream.send_frame(hello=chat_pb2.Hello())
    assert (await stream.wait_ended()).code_and_reason == (OUT, "DEVICE_REVOKED")


async def test_stream_ends_after_token_grace_unless_reauthenticated(world: World, alice: RawDevice) -> None:
    tablet, bob = await world.add_device(alice), await world.user("bob")
    for device in (alice, tablet, bob):
        device.token = world.token(device.user_id, device.device_id, lifetime=2)
        welcome = await device.open()
        assert welcome.token_expire_time.ToMilliseconds() < welcome.server_time.ToMilliseconds() + 2000
    renewed = world.token(tablet.user_id, tablet.device_id)
    await tablet.stream.send_frame(reauthenticate=chat_pb2.ReauthenticateRequest(access_token=renewed))
    for device in (alice, bob):
        assert (await device.stream.final_error(GRACE_S + FRAME_TIMEOUT_S)).code_and_reason == (OUT, "TOKEN_EXPIRED")
        assert (await device.stream.wait_ended()).code_and_reason == (OUT, "TOKEN_EXPIRED")
    await tablet.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest())
    await tablet.stream.next_frame("heartbeat")
    assert tablet.stream.kinds.count("error") == 0
    # Nothing else was said in this half minute, and nobody takes silence for death.
    assert len(world.servers) == len(world.stack.chat_servers)
    assert not [server.name for server in world.stack.chat_servers if "too_many_pings" in server.log.read_text()]


async def test_reauthentication_with_another_devices_token_is_refused(world: World, alice: RawDevice) -> None:
    tablet, bob = await world.add_device(alice), await world.user("bob")
    await alice.open()
    bad = {**bad_tokens(world, alice), "TOKEN_INVALID tablet": tablet.token, "TOKEN_INVALID bob": bob.token}
    for reason, token in bad.items():
        await alice.stream.send_frame(reauthenticate=chat_pb2.ReauthenticateRequest(access_token=token))
        assert (await alice.stream.refusal()).code_and_reason == (OUT, reason.partition(" ")[0])
    await alice.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest())
    await alice.stream.next_frame("heartbeat")


@pytest.mark.parametrize("edge_is_home", [True, False])
async def test_logout_ends_stream_on_any_server(world: World, edge_is_home: bool) -> None:
    home, second, third = world.servers
    [phone] = await world.users_where([home])
    tablet = await world.add_device(phone)
    for device in (phone, tablet):
        await device.open(at=home if edge_is_home else second)
        await device.changes()
    await phone.call(account_pb2.LogoutRequest(), at=third)
    assert (await phone.stream.final_error()).code_and_reason == (OUT, "DEVICE_REVOKED")
    assert (await phone.stream.wait_ended()).code_and_reason == (OUT, "DEVICE_REVOKED")
    stream = phone.dial()
    await stream.send_frame(hello=chat_pb2.Hello())
    assert (await stream.wait_ended()).code_and_reason == (OUT, "DEVICE_REVOKED"), "its token is still good, and no use"
    await tablet.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest())
    await tablet.stream.next_frame("heartbeat")


async def test_device_registers_logs_in_and_logs_out(world: World) -> None:
    phone = await world.register("alice")
    laptop = await world.login(phone)
    assert phone.user_id == laptop.user_id
    assert phone.device_id != laptop.device_id
    for device in (phone, laptop):
        await device.open()
    await laptop.call(account_pb2.LogoutRequest())
    assert (await laptop.stream.wait_ended()).code_and_reason == (OUT, "DEVICE_REVOKED")
    assert phone.stream.open
