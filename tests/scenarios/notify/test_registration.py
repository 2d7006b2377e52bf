"""Push tokens and preferences, as clients see them."""

from __future__ import annotations

import time

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from parley.notify.v1 import notify_pb2
from tests.raw.device import RawDevice
from tests.raw.pushes import Pushes
from tests.raw.refusal import of_error
from tests.raw.world import World

pytestmark = pytest.mark.scenario

APNS = notify_pb2.ApnsToken(token="ab" * 32, topic="org.example.app")


def key() -> notify_pb2.EncryptionKey:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return notify_pb2.EncryptionKey(
        p256dh=public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint), auth=bytes(16)
    )


async def tokens(device: RawDevice) -> list[notify_pb2.PushToken]:
    return list((await device.call(notify_pb2.ListPushTokensRequest())).push_tokens)


async def test_registration_replaces_the_previous_one_and_is_listed(world: World, pushes: Pushes) -> None:
    bob = await world.user("bob")
    laptop = await world.add_device(bob)
    await pushes.register(bob)
    request = notify_pb2.RegisterPushTokenRequest(apns=APNS, language="pt-BR", encryption=key())
    registered = (await bob.call(request)).push_token
    assert (registered.device_id, registered.provider) == (bob.device_id, notify_pb2.PUSH_PROVIDER_APNS)
    assert (registered.language, registered.encrypted) == ("pt-BR", True)
    assert abs(registered.register_time.seconds - time.time()) < 30
    assert not registered.HasField("last_push_time")
    await pushes.register(laptop)
    assert [each.device_id for each in await tokens(bob)] == [laptop.device_id, bob.device_id]
    assert (await tokens(bob))[1] == registered
    first = await bob.call(notify_pb2.ListPushTokensRequest(page_size=1))
    second = await bob.call(notify_pb2.ListPushTokensRequest(page_size=1, page_token=first.next_page_token))
    assert [each.device_id for each in (*first.push_tokens, *second.push_tokens)] == [
        laptop.device_id,
        bob.device_id,
    ]
    assert not second.next_page_token
    await bob.call(notify_pb2.UnregisterPushTokenRequest())
    await bob.call(notify_pb2.UnregisterPushTokenRequest(device_id=laptop.device_id))
    assert await tokens(bob) == []


async def test_token_moves_to_the_device_that_registers_it(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    token = notify_pb2.FcmToken(token=f"shared {bob.device_id}")
    for device in (alice, bob):
        await device.call(notify_pb2.RegisterPushTokenRequest(fcm=token))
    assert await tokens(alice) == []
    assert [each.device_id for each in await tokens(bob)] == [bob.device_id]


async def test_another_user_cannot_remove_a_token(world: World, pushes: Pushes) -> None:
    alice, bob = await world.users("alice", "bob")
    await pushes.register(bob)
    await alice.call(notify_pb2.UnregisterPushTokenRequest(device_id=bob.device_id))
    assert len(await tokens(bob)) == 1


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (notify_pb2.RegisterPushTokenRequest(), "token"),
        (notify_pb2.RegisterPushTokenRequest(fcm=notify_pb2.FcmToken()), "fcm.token"),
        (notify_pb2.RegisterPushTokenRequest(fcm=notify_pb2.FcmToken(token="t"), language="-"), "language"),
        (
            notify_pb2.RegisterPushTokenRequest(
                apns=APNS, encryption=notify_pb2.EncryptionKey(p256dh=b"\x04" + bytes(64), auth=bytes(16))
            ),
            "encryption.p256dh",
        ),
        (
            notify_pb2.RegisterPushTokenRequest(
                apns=APNS, encryption=notify_pb2.EncryptionKey(p256dh=bytes(65), auth=bytes(16))
            ),
            "encryption.p256dh",
        ),
        (
            notify_pb2.RegisterPushTokenRequest(
                web_push=notify_pb2.WebPushSubscription(endpoint="http://a.example", p256dh=bytes(65), auth=bytes(16))
            ),
            "web_push.endpoint",
        ),
        (
            notify_pb2.SetPreferencesRequest(
                preferences=notify_pb2.Preferences(quiet_hours=notify_pb2.QuietHours(time_zone="Atlantis/Capital"))
            ),
            "preferences.quiet_hours.time_zone",
        ),
    ],
)
async def test_invalid_request_names_the_field(world: World, request_: Message, field: str) -> None:
    bob = await world.user("bob")
    refusal = await bob.refusal(request_)
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert field in refusal.fields


async def test_preferences_keep_what_is_unset(world: World) -> None:
    bob = await world.user("bob")
    defaults = (await bob.call(notify_pb2.GetPreferencesRequest())).preferences
    assert MessageToDict(defaults, preserving_proto_field_name=True) == {
        "scope": "NOTIFICATION_SCOPE_ALL",
        "preview": "NOTIFICATION_PREVIEW_FULL",
        "reactions": True,
    }
    quiet = notify_pb2.QuietHours(start_minute=1320, end_minute=420, time_zone="Europe/Lisbon")
    changes = notify_pb2.Preferences(preview=notify_pb2.NOTIFICATION_PREVIEW_NONE, quiet_hours=quiet)
    await bob.call(notify_pb2.SetPreferencesRequest(preferences=changes))
    changed = await bob.call(notify_pb2.SetPreferencesRequest(preferences=notify_pb2.Preferences(reactions=False)))
    found = (await bob.call(notify_pb2.GetPreferencesRequest())).preferences
    assert found == changed.preferences
    assert (found.preview, found.reactions) == (notify_pb2.NOTIFICATION_PREVIEW_NONE, False)
    assert not found.HasField("quiet_hours")


async def test_test_pushes_are_limited(world: World, pushes: Pushes) -> None:
    bob = await world.user("bob")
    servers = len(pushes.servers)
    # Each server has the limit; a device that calls both has it twice.
    answers = [await _try(bob) for _ in range(5 * servers + 5)]
    assert answers[:5] == [""] * 5
    # On a slow machine a server may allow some more meanwhile.
    assert "RATE_LIMITED" in answers


async def _try(device: RawDevice) -> str:
    try:
        await device.call(notify_pb2.SendTestPushRequest())
    except grpc.aio.AioRpcError as error:
        return of_error(error).reason
    return ""


async def test_browser_gets_the_same_key_of_every_server(world: World, pushes: Pushes) -> None:
    bob = await world.user("bob")
    keys = {(await bob.call(notify_pb2.GetWebPushKeyRequest())).application_server_key for _ in range(4)}
    [key] = keys
    assert (len(key), key[0]) == (65, 4)
    subscription = notify_pb2.WebPushSubscription(endpoint="https://push.example.com/1", p256dh=key, auth=bytes(16))
    await bob.call(notify_pb2.RegisterPushTokenRequest(web_push=subscription))
    [listed] = await tokens(bob)
    assert (listed.provider, listed.encrypted) == (notify_pb2.PUSH_PROVIDER_WEB_PUSH, True)
