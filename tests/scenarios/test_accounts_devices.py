"""Users list and revoke their devices, and change their password."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from chat_service.servicers.account import OPEN_METHODS
from chat_service.storage.devices import MongoDeviceStore
from parley.chat.v1 import account_pb2, chat_pb2
from tests.eventually import run_ready
from tests.raw import calls
from tests.raw.device import RawDevice
from tests.raw.refusal import of_error
from tests.raw.stream import StreamEnded
from tests.raw.world import PASSWORD, World

pytestmark = pytest.mark.scenario

OUT = ("UNAUTHENTICATED", "DEVICE_REVOKED")


def revoke(device: RawDevice) -> account_pb2.RevokeDeviceRequest:
    return account_pb2.RevokeDeviceRequest(device_id=device.device_id)


async def listed(device: RawDevice, page_size: int = 0) -> list[account_pb2.Device]:
    found: list[account_pb2.Device] = []
    token = ""
    while not found or token:
        page = await device.call(account_pb2.ListDevicesRequest(page_size=page_size, page_token=token))
        found += page.devices
        token = page.next_page_token
    return found


async def check_signed_out(device: RawDevice) -> None:
    """Check that the stream ends at once, and that calls and streams with the token are refused."""
    assert (await device.stream.final_error()).code_and_reason == OUT
    assert (await device.stream.wait_ended()).code_and_reason == OUT
    assert (await device.refusal(account_pb2.GetProfileRequest())).code_and_reason == OUT
    stream = device.dial()
    await stream.send_frame(hello=chat_pb2.Hello())
    assert (await stream.wait_ended()).code_and_reason == OUT


async def beats(device: RawDevice) -> None:
    await device.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest())
    await device.stream.next_frame("heartbeat")


CLOSED = [
    method
    for name, method in calls.METHODS.items()
    if name.startswith("parley.chat.") and not method.client_streaming and method.name not in {*OPEN_METHODS, "Logout"}
]


async def test_signed_out_device_can_call_no_method_but_logout(world: World) -> None:
    phone = await world.user("alice")
    lost = await world.add_device(phone)
    await phone.call(revoke(lost))
    assert len(CLOSED) > 40
    for method in CLOSED:
        path = f"/{method.containing_service.full_name}/{method.name}"
        # DeleteAccount checks its request before it checks the device.
        request = account_pb2.DeleteAccountRequest(password=PASSWORD) if method.name == "DeleteAccount" else Empty()
        make: Any = getattr(
            world.channel(world.stack.door), "unary_stream" if method.server_streaming else "unary_unary"
        )
        call = make(path)(request.SerializeToString(), metadata=[("authorization", f"Bearer {lost.token}")], timeout=20)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await (call.read() if method.server_streaming else call)
        assert of_error(error.value).code_and_reason == OUT, path
    await lost.call(account_pb2.LogoutRequest())


async def test_devices_are_listed_in_pages(world: World) -> None:
    phone = await world.user("alice")
    others = [await world.add_device(phone) for _ in range(4)]
    for size in (0, 1, 2, 5, 50):
        found = await listed(phone, size)
        assert sorted(each.device_id for each in found) == sorted(each.device_id for each in [phone, *others])
        assert [each.device_id for each in found if each.current] == [phone.device_id]
        assert found == sorted(found, key=lambda each: (each.create_time.ToMilliseconds(), each.device_id))
    bad = account_pb2.ListDevicesRequest(page_token="nonsense")
    assert (await phone.refusal(bad)).code_and_reason == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


@pytest.mark.parametrize("edge_is_home", [True, False])
async def test_revoked_device_is_disconnected_on_any_server(world: World, edge_is_home: bool) -> None:
    home, second, third = world.servers
    [phone] = await world.users_where([home])
    lost = await world.add_device(phone)
    for device in (phone, lost):
        await device.connect(at=home if edge_is_home else second)
    await phone.call(revoke(lost), at=third)
    await check_signed_out(lost)
    await beats(phone)
    assert [each.device_id for each in await listed(phone)] == [phone.device_id]
    await phone.call(revoke(lost))


async def test_device_revokes_itself(world: World) -> None:
    phone = await world.user("alice")
    laptop = await world.add_device(phone)
    for device in (phone, laptop):
        await device.connect()
    await phone.call(revoke(phone))
    await check_signed_out(phone)
    await beats(laptop)


async def test_revoking_another_users_device_is_refused(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    await bob.connect()
    assert (await alice.refusal(revoke(bob))).code_and_reason == ("NOT_FOUND", "DEVICE_NOT_FOUND")
    await beats(bob)


async def test_in_flight_sends_of_revoked_device_form_an_ordered_prefix(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    lost = await world.add_device(alice)
    conversation = await alice.direct(bob)
    await bob.connect()
    await lost.connect()

    told = asyncio.Event()

    async def chatter() -> list[str]:
        keys = list[str]()
        with suppress(StreamEnded):
            # Not to the very end: gRPC's client reads no more of a stream on which a write of its own failed.
            while not told.is_set():
                keys.append(await lost.send(conversation, str(len(keys))))
                await run_ready()
        return keys

    sending = asyncio.create_task(chatter())
    await bob.has_all(conversation, 5)
    revoking = asyncio.create_task(alice.call(revoke(lost)))
    told.set()
    keys = await sending
    await revoking
    assert (await lost.stream.wait_ended()).code_and_reason == OUT
    assert (await lost.refusal(account_pb2.GetProfileRequest())).code_and_reason == OUT
    seq = await bob.sent(conversation, "what was that?")
    await bob.has_all(conversation, seq)
    # What was with the owner already may come before or after what bob says.
    heard = [body for body in bob.bodies(conversation) if body != "what was that?"]
    assert heard == [str(number) for number in range(len(heard))], "a beginning of what was sent, without a gap"
    answers = [answer for key in keys for answer in lost.answers[key]]
    for answer in answers:
        if answer.HasField("appended"):
            assert bob.logs[conversation][answer.appended.seq].message_appended.content.text.body == str(
                keys.index(answer.client_message_id)
            )


@pytest.mark.fault
async def test_revoked_device_is_disconnected_while_home_is_frozen(fragile_world: World) -> None:
    world = fragile_world
    home, edge, third = world.servers
    [phone] = await world.users_where([home])
    lost = await world.add_device(phone)
    for device in (phone, lost):
        await device.connect(at=edge)
    frozen = next(each for each in world.stack.chat_servers if each.address == home)
    frozen.freeze()
    await phone.call(revoke(lost), at=third)
    assert (await lost.stream.wait_ended(timeout=10)).code_and_reason == OUT
    await beats(phone)
    assert (await lost.refusal(account_pb2.GetProfileRequest(), at=edge)).code_and_reason == OUT


@pytest.mark.fault
async def test_revoked_device_is_disconnected_after_home_crash(fragile_world: World) -> None:
    """A revocation notice may be lost with the server that passes it on; the next check of the device finds it."""
    world = fragile_world
    home, edge, _ = world.servers
    [phone] = await world.users_where([home])
    await phone.connect(at=edge)
    devices = MongoDeviceStore(world._store)
    assert await devices.save_if_unchanged((await devices.load(phone.user_id)).with_signed_out(phone.device_id))
    await beats(phone)
    next(each for each in world.stack.chat_servers if each.address == home).kill()
    assert (await phone.stream.wait_ended(timeout=15)).code_and_reason == OUT


async def test_password_change_signs_out_all_other_devices(world: World) -> None:
    phone = await world.register("alice")
    thief = await world.login(phone)
    for device in (phone, thief):
        await device.connect()
    change = account_pb2.ChangePasswordRequest(old_password=PASSWORD, new_password="another horse")
    wrong = account_pb2.ChangePasswordRequest(old_password="a guess", new_password="another horse")
    assert (await thief.refusal(wrong)).code_and_reason == ("UNAUTHENTICATED", "CREDENTIALS_INVALID")
    await phone.call(change)
    await check_signed_out(thief)
    await beats(phone)
    name = (await phone.call(account_pb2.GetProfileRequest())).profile.login_name
    door = world.channel(world.stack.door)
    refused = await calls.refused(door, account_pb2.LoginRequest(login_name=name, password=PASSWORD))
    assert refused.code_and_reason == ("UNAUTHENTICATED", "CREDENTIALS_INVALID")
    session = (await calls.call(door, account_pb2.LoginRequest(login_name=name, password="another horse"))).session
    assert session.user_id == phone.user_id


async def test_password_guesses_are_limited_across_servers(world: World) -> None:
    """The limit is a burst of ten guesses and one more every 10 s, across all servers."""
    name = (await (await world.register("alice")).call(account_pb2.GetProfileRequest())).profile.login_name
    guess = account_pb2.LoginRequest(login_name=name, password="a guess")
    began, heard, refusing = time.monotonic(), 0, set()
    for number in range(30):
        server = world.servers[number % 3]
        refused = await calls.refused(world.channel(server), guess)
        if refused.code_and_reason == ("RESOURCE_EXHAUSTED", "RATE_LIMITED"):
            assert 0 < (refused.retry_after or 0) <= 10
            refusing.add(server)
            continue
        assert refused.code_and_reason == ("UNAUTHENTICATED", "CREDENTIALS_INVALID")
        heard += 1
        assert heard <= 11 + (time.monotonic() - began) / 10
    assert heard >= 10
    assert refusing == set(world.servers)


async def test_token_of_earlier_session_stays_invalid_after_new_login(world: World) -> None:
    phone = await world.register("alice")
    laptop = await world.login(phone)
    name = (await phone.call(account_pb2.GetProfileRequest())).profile.login_name
    await phone.call(revoke(laptop))
    assert (await laptop.refusal(account_pb2.GetProfileRequest())).code_and_reason == OUT
    again = account_pb2.LoginRequest(
        login_name=name, password=PASSWORD, device=account_pb2.DeviceDescription(device_id=laptop.device_id)
    )
    session = (await calls.call(world.channel(world.stack.door), again)).session
    assert session.device_id == laptop.device_id
    # The thief has the old token, the owner the new one.
    assert (await laptop.refusal(account_pb2.GetProfileRequest())).code_and_reason == OUT
    stream = laptop.dial()
    await stream.send_frame(hello=chat_pb2.Hello())
    assert (await stream.wait_ended()).code_and_reason == OUT
    laptop.token = session.access_token
    await laptop.call(account_pb2.GetProfileRequest())
