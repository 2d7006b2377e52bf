"""APNs: pushes, credentials and errors, against a server that checks what Apple's checks."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from notify_service.model.push import (
    Accepted,
    ApnsEnvironment,
    ApnsToken,
    CredentialsRefused,
    Outcome,
    Rejected,
    RetryLater,
    TokenGone,
)
from notify_service.providers.apns import ApnsProvider
from notify_service.providers.apns_outcomes import EFFECTS
from notify_service.providers.apns_token import ApnsKey
from notify_service.providers.client import PushClient
from servicekit.config import ConfigurationError
from tests.clock import ManualClock
from tests.integration.notify.providers.pushes import LONG_TEXT, MESSAGE, READ
from tests.push_servers.apns import KEY_ID, TEAM_ID, TOPIC, ApnsServer
from tests.push_servers.http2_server import Answer
from tests.push_servers.web_push import DeviceKey

pytestmark = pytest.mark.integration

DEVICE = "ab" * 32
TOKEN = ApnsToken(DEVICE, TOPIC)


@pytest.fixture(autouse=True)
def device(apns_server: ApnsServer) -> None:
    apns_server.devices[DEVICE] = TOPIC


async def test_notification_is_accepted_with_its_id(apns_provider: ApnsProvider, apns_server: ApnsServer) -> None:
    outcome = await apns_provider.send(TOKEN, MESSAGE)
    [request] = apns_server.requests
    assert outcome == Accepted(request.headers["apns-id"])
    assert request.path == f"/3/device/{DEVICE}"
    assert apns_server.payloads == [
        {
            "aps": {
                "alert": {"title": "Alice", "body": MESSAGE.body},
                "badge": 3,
                "sound": "default",
                "thread-id": MESSAGE.conversation_id,
            },
            "kind": "message",
            "conversation_id": MESSAGE.conversation_id,
            "seq": 12,
            "collapse_id": "conversation-7",
            "badge": 3,
        }
    ]


async def test_headers_follow_the_push(
    apns_provider: ApnsProvider, apns_server: ApnsServer, clock: ManualClock
) -> None:
    await apns_provider.send(TOKEN, MESSAGE)
    await apns_provider.send(TOKEN, replace(READ, seq=13, lifetime_s=0))
    urgent, silent = [request.headers for request in apns_server.requests]
    assert (urgent["apns-push-type"], urgent["apns-priority"]) == ("alert", "10")
    assert urgent["apns-expiration"] == str(clock.now_ms() // 1000 + 3600)
    assert (silent["apns-push-type"], silent["apns-priority"], silent["apns-expiration"]) == ("background", "5", "0")
    assert urgent["apns-collapse-id"] == silent["apns-collapse-id"] == "conversation-7"


async def test_push_sent_twice_has_the_same_id(apns_provider: ApnsProvider, apns_server: ApnsServer) -> None:
    apns_server.devices["cd" * 32] = TOPIC
    for token in (TOKEN, TOKEN, ApnsToken("cd" * 32, TOPIC)):
        await apns_provider.send(token, MESSAGE)
    await apns_provider.send(TOKEN, replace(MESSAGE, seq=13))
    ids = [request.headers["apns-id"] for request in apns_server.requests]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


async def test_withdrawal_replaces_the_notification(apns_provider: ApnsProvider, apns_server: ApnsServer) -> None:
    await apns_provider.send(TOKEN, MESSAGE)
    assert isinstance(await apns_provider.send(TOKEN, READ), Accepted)
    [shown] = apns_server.shown.values()
    assert shown["aps"] == {"content-available": 1}
    assert (shown["kind"], shown["seq"], shown["badge"]) == ("read", 12, 0)


async def test_long_text_is_cut_to_the_largest_payload(apns_provider: ApnsProvider, apns_server: ApnsServer) -> None:
    outcome = await apns_provider.send(TOKEN, replace(MESSAGE, title=LONG_TEXT, body=LONG_TEXT))
    assert isinstance(outcome, Accepted)
    assert 3500 < len(apns_server.requests[0].body) <= 4096
    alert = apns_server.payloads[0]["aps"]["alert"]
    assert LONG_TEXT.startswith(alert["body"].removesuffix("…"))
    assert alert["body"].endswith("…")
    assert len(alert["title"]) <= 100


@pytest.mark.parametrize("push", [MESSAGE, READ, replace(MESSAGE, body=LONG_TEXT)], ids=["message", "read", "long"])
async def test_encrypted_content_is_readable_by_the_device_alone(
    push: object, apns_provider: ApnsProvider, apns_server: ApnsServer
) -> None:
    assert isinstance(push, type(MESSAGE) | type(READ))
    key = DeviceKey.generate()
    outcome = await apns_provider.send(replace(TOKEN, encryption_key=key.registered), push)
    assert isinstance(outcome, Accepted)
    [request], [payload] = apns_server.requests, apns_server.payloads
    content = key.open(payload["encrypted"])
    assert (content["seq"], content["conversation_id"]) == (12, MESSAGE.conversation_id)
    clear = json.dumps({**payload, "encrypted": ""}) + json.dumps(request.headers)
    for secret in ("Alice", "eight", "conversation-7", MESSAGE.conversation_id):
        assert secret not in clear
    if isinstance(push, type(MESSAGE)):
        assert payload["aps"] == {"alert": {"body": "Neue Nachricht"}, "mutable-content": 1, "sound": "default"}
        assert (content["title"], content["badge"]) == ("Alice", 3)
        assert push.body.startswith(content["body"].removesuffix("…"))


async def test_collapse_id_of_encrypted_pushes_differs_between_devices(
    apns_provider: ApnsProvider, apns_server: ApnsServer
) -> None:
    apns_server.devices["cd" * 32] = TOPIC
    key = DeviceKey.generate().registered
    for device in (DEVICE, DEVICE, "cd" * 32):
        await apns_provider.send(ApnsToken(device, TOPIC, encryption_key=key), MESSAGE)
    ids = [request.headers["apns-collapse-id"] for request in apns_server.requests]
    assert ids[0] == ids[1] != ids[2]


async def test_key_that_is_no_point_is_rejected(apns_provider: ApnsProvider, apns_server: ApnsServer) -> None:
    key = DeviceKey.generate().registered
    broken = replace(key, public_key=b"\x04" + bytes(64))
    outcome = await apns_provider.send(replace(TOKEN, encryption_key=broken), MESSAGE)
    assert outcome == Rejected("the encryption key of the device is not valid")
    assert apns_server.requests == []


async def test_other_app_is_rejected_without_a_call(apns_provider: ApnsProvider, apns_server: ApnsServer) -> None:
    outcome = await apns_provider.send(ApnsToken(DEVICE, "org.example.other"), MESSAGE)
    assert outcome == Rejected("this deployment does not serve the app")
    assert apns_server.requests == []


async def test_token_of_the_sandbox_goes_to_the_sandbox(
    client: PushClient, apns_key: ApnsKey, apns_server: ApnsServer, clock: ManualClock
) -> None:
    provider = ApnsProvider(client, apns_key, [TOPIC], clock, sandbox_url=apns_server.url)
    outcome = await provider.send(replace(TOKEN, environment=ApnsEnvironment.SANDBOX), MESSAGE)
    assert isinstance(outcome, Accepted)


async def test_pushes_share_one_connection_and_one_provider_token(
    apns_provider: ApnsProvider, apns_server: ApnsServer
) -> None:
    pushes = [replace(MESSAGE, seq=seq, collapse_id=f"conversation-{seq}") for seq in range(1, 61)]
    outcomes = await asyncio.gather(*(apns_provider.send(TOKEN, push) for push in pushes))
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert apns_server.connections == 1
    assert len({request.headers["authorization"] for request in apns_server.requests}) == 1
    assert len(apns_server.shown) == 60


async def test_provider_token_is_renewed_after_40_minutes(
    apns_provider: ApnsProvider, apns_server: ApnsServer, clock: ManualClock
) -> None:
    for minutes in (0, 39, 1, 39, 1):
        clock.advance(minutes * 60)
        assert isinstance(await apns_provider.send(TOKEN, MESSAGE), Accepted)
    used = [request.headers["authorization"] for request in apns_server.requests]
    assert [used[0] == used[1], used[1] == used[2], used[2] == used[3], used[3] == used[4]] == [True, False] * 2


async def test_expired_provider_token_is_renewed_once_and_the_push_sent_again(
    apns_provider: ApnsProvider, apns_server: ApnsServer, clock: ManualClock
) -> None:
    await apns_provider.send(TOKEN, MESSAGE)
    clock.advance(25 * 60)
    apns_server.next_answers.append(Answer.json(403, {"reason": "ExpiredProviderToken"}))
    assert isinstance(await apns_provider.send(TOKEN, MESSAGE), Accepted)
    first, refused, again = [request.headers["authorization"] for request in apns_server.requests]
    assert first == refused != again


async def test_young_provider_token_is_not_renewed(
    apns_provider: ApnsProvider, apns_server: ApnsServer, clock: ManualClock
) -> None:
    await apns_provider.send(TOKEN, MESSAGE)
    clock.advance(19 * 60)
    apns_server.next_answers.append(Answer.json(403, {"reason": "ExpiredProviderToken"}))
    assert await apns_provider.send(TOKEN, MESSAGE) == CredentialsRefused("ExpiredProviderToken")
    assert len(apns_server.requests) == 2


async def test_expired_token_after_the_renewal_is_refused(
    apns_provider: ApnsProvider, apns_server: ApnsServer, clock: ManualClock
) -> None:
    await apns_provider.send(TOKEN, MESSAGE)
    clock.advance(25 * 60)
    apns_server.next_answers.extend([Answer.json(403, {"reason": "ExpiredProviderToken"})] * 2)
    assert await apns_provider.send(TOKEN, MESSAGE) == CredentialsRefused("ExpiredProviderToken")
    assert len(apns_server.requests) == 3


ERRORS: list[tuple[int, str, type[Outcome]]] = [
    (400, "BadCollapseId", Rejected),
    (400, "BadDeviceToken", TokenGone),
    (400, "BadExpirationDate", Rejected),
    (400, "BadMessageId", Rejected),
    (400, "BadPriority", Rejected),
    (400, "BadTopic", Rejected),
    (400, "DeviceTokenNotForTopic", TokenGone),
    (400, "DuplicateHeaders", Rejected),
    (400, "IdleTimeout", RetryLater),
    (400, "InvalidPushType", Rejected),
    (400, "MissingDeviceToken", Rejected),
    (400, "MissingTopic", Rejected),
    (400, "PayloadEmpty", Rejected),
    (400, "TopicDisallowed", Rejected),
    (403, "BadCertificate", CredentialsRefused),
    (403, "BadCertificateEnvironment", CredentialsRefused),
    (403, "BadEnvironmentKeyIdInToken", CredentialsRefused),
    (403, "ExpiredProviderToken", CredentialsRefused),
    (403, "Forbidden", CredentialsRefused),
    (403, "InvalidProviderToken", CredentialsRefused),
    (403, "MissingProviderToken", CredentialsRefused),
    (403, "UnrelatedKeyIdInToken", CredentialsRefused),
    (404, "BadPath", Rejected),
    (405, "MethodNotAllowed", Rejected),
    (410, "ExpiredToken", TokenGone),
    (410, "Unregistered", TokenGone),
    (413, "PayloadTooLarge", Rejected),
    (429, "TooManyProviderTokenUpdates", RetryLater),
    (429, "TooManyRequests", RetryLater),
    (500, "InternalServerError", RetryLater),
    (503, "ServiceUnavailable", RetryLater),
    (503, "Shutdown", RetryLater),
]


def test_table_has_every_reason() -> None:
    assert {reason for _, reason, _ in ERRORS} == EFFECTS.keys()


@pytest.mark.parametrize(("status", "reason", "kind"), ERRORS, ids=[reason for _, reason, _ in ERRORS])
async def test_each_error_has_its_outcome(
    status: int, reason: str, kind: type[Outcome], apns_provider: ApnsProvider, apns_server: ApnsServer
) -> None:
    apns_server.next_answers.append(Answer.json(status, {"reason": reason}))
    outcome = await apns_provider.send(TOKEN, MESSAGE)
    assert outcome == kind(reason)
    assert len(apns_server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer.json(400, {"reason": "NewInOtherYears"}), Rejected("HTTP 400")),
        (Answer.json(403, {"reason": "NewInOtherYears"}), CredentialsRefused("HTTP 403")),
        (Answer.json(410, {}), TokenGone("HTTP 410")),
        (Answer(502, b"<html>"), RetryLater("HTTP 502")),
        (Answer(429, b"[]"), RetryLater("HTTP 429")),
        (Answer(307, headers={"location": "https://elsewhere.example/"}), Rejected("HTTP 307")),
        (Answer.json(429, {"reason": "TooManyRequests"}, retry_after="7"), RetryLater("TooManyRequests", 7.0)),
    ],
    ids=["400", "403", "410", "502", "429", "redirect", "delay"],
)
async def test_unknown_errors_are_judged_by_their_status(
    answer: Answer, outcome: Outcome, apns_provider: ApnsProvider, apns_server: ApnsServer
) -> None:
    apns_server.next_answers.append(answer)
    assert await apns_provider.send(TOKEN, MESSAGE) == outcome


async def test_unregistered_device_is_gone_since_the_time_that_apple_says(
    apns_provider: ApnsProvider, apns_server: ApnsServer
) -> None:
    apns_server.unregistered[DEVICE] = 1_700_000_000_000
    outcome = await apns_provider.send(TOKEN, MESSAGE)
    assert outcome == TokenGone("Unregistered", 1_700_000_000_000)
    assert outcome.applies_to(1_700_000_000_000)
    assert not outcome.applies_to(1_700_000_000_001)


async def test_check_accepts_a_key_that_apple_knows(apns_provider: ApnsProvider, apns_server: ApnsServer) -> None:
    await apns_provider.check()
    assert len(apns_server.requests) == 1
    assert apns_server.payloads == []


async def test_check_names_a_wrong_key(client: PushClient, apns_server: ApnsServer, clock: ManualClock) -> None:
    other = ApnsKey(ec.generate_private_key(ec.SECP256R1()), KEY_ID, TEAM_ID)
    provider = ApnsProvider(client, other, [TOPIC], clock, production_url=apns_server.url)
    with pytest.raises(
        ConfigurationError, match=r"APNs refuses the key \(InvalidProviderToken\)\. Check the \.p8 file"
    ):
        await provider.check()


async def test_check_names_a_wrong_bundle_id(
    client: PushClient, apns_key: ApnsKey, apns_server: ApnsServer, clock: ManualClock
) -> None:
    provider = ApnsProvider(client, apns_key, ["org.example.other"], clock, production_url=apns_server.url)
    with pytest.raises(ConfigurationError, match=r"APNs refuses the bundle id org\.example\.other \(TopicDisallowed\)"):
        await provider.check()


async def test_check_passes_while_apple_does_not_answer(
    client: PushClient, apns_key: ApnsKey, clock: ManualClock
) -> None:
    await ApnsProvider(client, apns_key, [TOPIC], clock, production_url="https://localhost:1").check()
