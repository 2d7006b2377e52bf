"""Push over the SDK: tokens of devices, preferences, and why something was pushed or was not."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from parley_client import (
    ApnsEnvironment,
    ApnsToken,
    Client,
    EncryptionKey,
    FcmToken,
    InvalidRequest,
    NotificationPreferences,
    NotificationPreview,
    NotificationScope,
    PushDecision,
    PushOutcome,
    PushProvider,
    QuietHours,
    WebPushSubscription,
)
from tests.eventually import eventually
from tests.raw.pushes import Pushes
from tests.scenarios.sdk.people import Pair, People

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

TIMEOUT_S = 20.0
AN_HOUR = timedelta(hours=1)


@pytest.fixture
async def pushes(people: People) -> AsyncIterator[Pushes]:
    """The pushes of the shared system."""
    async with Pushes(people.world) as pushes:
        yield pushes


def device_id(client: Client) -> str:
    assert client.session is not None
    return client.session.device_id


def new_key() -> EncryptionKey:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return EncryptionKey(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint), bytes(range(16)))


async def register(client: Client) -> None:
    """Register the id of the device as its token, as `Pushes.recorded` expects."""
    await client.push.register_token(FcmToken(device_id(client)))


async def decision(client: Client, is_expected: Callable[[PushDecision], bool]) -> PushDecision:
    """Return the newest decision that is expected, once there is one."""
    found: list[PushDecision] = []

    async def is_found() -> bool:
        found[:] = filter(is_expected, await client.push.list_decisions())
        return bool(found)

    await eventually(is_found, TIMEOUT_S)
    return found[0]


async def test_message_to_an_offline_user_is_pushed_and_traced(pair: Pair, pushes: Pushes) -> None:
    await register(pair.bob)
    sent = await pair.alice.messages.send(pair.chat, "see you at 8")
    found = await decision(pair.bob, lambda each: each.seq == sent.seq)
    assert abs(datetime.now(UTC) - found.time) < AN_HOUR
    assert replace(found, time=sent.time) == PushDecision(
        sent.time, pair.chat, sent.seq, PushOutcome.ACCEPTED, device_id(pair.bob), PushProvider.FCM
    )
    [push] = pushes.recorded_for(device_id(pair.bob))
    assert (push["title"], push["body"]) == ("alice", "see you at 8")
    assert await pair.alice.push.list_decisions() == []

    async def is_noted() -> bool:
        [token] = await pair.bob.push.list_tokens()
        return token.last_push_time is not None and token.last_push_time.second == 0

    await eventually(is_noted, TIMEOUT_S)


async def test_message_in_the_foreground_is_not_pushed_and_the_trace_says_so(
    people: People, pair: Pair, pushes: Pushes
) -> None:
    await register(pair.bob)
    device = await people.device(pair.bob)
    seen = await pair.alice.messages.send(pair.chat, "you see this")
    found = await decision(pair.bob, lambda each: each.seq == seen.seq)
    assert (found.outcome, found.device_id) == (PushOutcome.IN_FOREGROUND, device_id(pair.bob))
    assert found.provider is None
    device.set_foreground(False)

    async def is_pushed() -> bool:
        await pair.alice.messages.send(pair.chat, "you do not")
        return bool(pushes.recorded_for(device_id(pair.bob)))

    await eventually(is_pushed, TIMEOUT_S)
    await pushes.wait_drained()
    assert seen.seq not in {push["seq"] for push in pushes.recorded_for(device_id(pair.bob))}


async def test_trace_names_the_reason_why_nothing_was_pushed(pair: Pair, pushes: Pushes) -> None:
    await pair.alice.messages.send(pair.chat, "nobody rings")
    # It is traced once a minute: of this message, or of the beginning of the conversation.
    await decision(pair.bob, lambda each: each.outcome is PushOutcome.NO_TOKEN)
    await register(pair.bob)
    await pair.bob.conversations.mute(pair.chat, datetime.now(UTC) + AN_HOUR)
    muted = await pair.alice.messages.send(pair.chat, "psst")
    found = await decision(pair.bob, lambda each: each.seq == muted.seq)
    assert (found.outcome, found.device_id, found.provider) == (PushOutcome.MUTED, None, None)
    await pair.bob.conversations.mute(pair.chat, None)
    await pair.bob.push.set_preferences(NotificationPreferences(scope=NotificationScope.NONE))
    excluded = await pair.alice.messages.send(pair.chat, "hello?")
    assert (await decision(pair.bob, lambda each: each.seq == excluded.seq)).outcome is PushOutcome.EXCLUDED
    assert pushes.recorded_for(device_id(pair.bob)) == []


async def test_nothing_is_pushed_in_quiet_hours(pair: Pair, pushes: Pushes) -> None:
    await register(pair.bob)
    all_day = QuietHours(time(0), time(0), "Europe/Lisbon")
    quiet = NotificationPreferences(quiet_hours=all_day)
    assert await pair.bob.push.set_preferences(quiet) == quiet
    sent = await pair.alice.messages.send(pair.chat, "good night")
    found = await decision(pair.bob, lambda each: each.seq == sent.seq)
    assert (found.outcome, found.device_id) == (PushOutcome.QUIET_HOURS, None)
    assert pushes.recorded_for(device_id(pair.bob)) == []


async def test_push_without_a_preview_shows_nothing_of_the_message(pair: Pair, pushes: Pushes) -> None:
    await register(pair.bob)
    hidden = NotificationPreferences(preview=NotificationPreview.NONE)
    assert await pair.bob.push.set_preferences(hidden) == hidden
    sent = await pair.alice.messages.send(pair.chat, "a secret")
    found = await decision(pair.bob, lambda each: each.seq == sent.seq)
    assert found.outcome is PushOutcome.ACCEPTED
    [push] = pushes.recorded_for(device_id(pair.bob))
    assert "alice" not in json.dumps(push)
    assert "a secret" not in json.dumps(push)


async def test_preferences_are_changed_by_parts_for_all_devices(people: People) -> None:
    phone, laptop = await people.client("bob"), await people.client("bob")
    assert await phone.push.get_preferences() == NotificationPreferences()
    wanted = NotificationPreferences(
        NotificationScope.MENTIONS, NotificationPreview.SENDER, False, QuietHours(time(22), time(7, 30), "Asia/Tokyo")
    )
    await phone.push.set_preferences(wanted)
    assert await laptop.push.get_preferences() == wanted
    await laptop.push.set_preferences(replace(wanted, scope=NotificationScope.UNKNOWN, quiet_hours=None))
    assert await phone.push.get_preferences() == replace(wanted, quiet_hours=None)
    with pytest.raises(InvalidRequest) as refused:
        await phone.push.set_preferences(replace(wanted, quiet_hours=QuietHours(time(1), time(2), "Atlantis/Capital")))
    assert [each.field for each in refused.value.violations] == ["preferences.quiet_hours.time_zone"]


async def test_tokens_of_all_providers_are_registered_listed_and_removed(people: People) -> None:
    phone, tablet, browser = [await people.client("bob") for _ in range(3)]
    registered = await phone.push.register_token(FcmToken(device_id(phone)), language="pt-BR")
    assert (registered.device_id, registered.provider) == (device_id(phone), PushProvider.FCM)
    assert (registered.language, registered.encrypted, registered.last_push_time) == ("pt-BR", False, None)
    assert abs(datetime.now(UTC) - registered.register_time) < AN_HOUR
    apns = ApnsToken("AB" * 16 + device_id(tablet), "org.example.app", ApnsEnvironment.SANDBOX, new_key())
    assert (await tablet.push.register_token(apns)).encrypted
    key = await browser.push.get_web_push_key()
    subscription = {
        "endpoint": f"https://push.example.com/{device_id(browser)}",
        "expirationTime": None,
        "keys": {name: base64.urlsafe_b64encode(value).decode().rstrip("=") for name, value in subscription_keys(key)},
    }
    await browser.push.register_token(WebPushSubscription.from_json(json.dumps(subscription)))
    listed = await phone.push.list_tokens()
    assert [(each.device_id, each.provider) for each in listed] == [
        (device_id(browser), PushProvider.WEB_PUSH),
        (device_id(tablet), PushProvider.APNS),
        (device_id(phone), PushProvider.FCM),
    ]
    assert listed[2] == registered
    await phone.push.unregister_token()
    await phone.push.unregister_token()
    await phone.push.unregister_token(device_id(browser))
    assert [each.device_id for each in await phone.push.list_tokens()] == [device_id(tablet)]


def subscription_keys(key: bytes) -> list[tuple[str, bytes]]:
    """Return the keys of a subscription; the public key of the server is a point on the curve as well."""
    return [("p256dh", key), ("auth", bytes(16))]


async def test_encryption_key_that_is_no_point_on_the_curve_is_refused(people: People) -> None:
    phone = await people.client("bob")
    with pytest.raises(InvalidRequest) as refused:
        await phone.push.register_token(FcmToken("token", EncryptionKey(b"\x04" + bytes(64), bytes(16))))
    assert [each.field for each in refused.value.violations] == ["encryption.p256dh"]
    assert await phone.push.list_tokens() == []


async def test_test_push_reaches_every_token_of_the_user_alone(people: People, pair: Pair, pushes: Pushes) -> None:
    phone, tablet = pair.bob, await people.client("bob")
    assert await phone.push.send_test() == []
    for client in (pair.alice, phone, tablet):
        await register(client)
    results = await phone.push.send_test()
    assert {each.device_id for each in results} == {device_id(phone), device_id(tablet)}
    assert {(each.provider, each.outcome, each.provider_reason) for each in results} == {
        (PushProvider.FCM, PushOutcome.ACCEPTED, "")
    }
    [one] = await phone.push.send_test(device_id(tablet))
    assert one.device_id == device_id(tablet)
    counts = [len(pushes.recorded_for(device_id(each))) for each in (pair.alice, phone, tablet)]
    assert counts == [0, 1, 2]
