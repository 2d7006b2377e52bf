"""FCM: pushes, access tokens and errors, against a server that checks what Google's checks."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from notify_service.model.push import (
    Accepted,
    CredentialsRefused,
    FcmToken,
    Outcome,
    Rejected,
    RetryLater,
    TokenGone,
)
from notify_service.providers.client import PushClient
from notify_service.providers.fcm import FcmProvider
from notify_service.providers.fcm_outcomes import EFFECTS, QUOTA_DELAY_S
from notify_service.providers.service_account import ServiceAccount
from servicekit.config import ConfigurationError
from tests.clock import ManualClock
from tests.integration.notify.providers.conftest import impatient
from tests.integration.notify.providers.pushes import LONG_TEXT, MESSAGE, READ
from tests.push_servers.fcm import FcmServer, fcm_error
from tests.push_servers.http2_server import Answer, Fault
from tests.push_servers.web_push import DeviceKey

pytestmark = pytest.mark.integration

TOKEN = FcmToken("device:one")


@pytest.fixture(autouse=True)
def device(fcm_server: FcmServer) -> None:
    fcm_server.devices.add(TOKEN.token)


async def test_notification_is_accepted_with_its_name(fcm_provider: FcmProvider, fcm_server: FcmServer) -> None:
    outcome = await fcm_provider.send(TOKEN, MESSAGE)
    assert outcome == Accepted("projects/example-project/messages/1")
    [message] = fcm_server.messages
    assert message["notification"] == {"title": "Alice", "body": MESSAGE.body}
    assert message["data"] == {
        "kind": "message",
        "conversation_id": MESSAGE.conversation_id,
        "seq": "12",
        "collapse_id": "conversation-7",
        "badge": "3",
    }
    assert message["android"] == {
        "priority": "HIGH",
        "ttl": "3600s",
        "collapse_key": "conversation-7",
        "notification": {"tag": "conversation-7", "sound": "default"},
    }
    assert message["apns"]["payload"]["aps"] == {
        "badge": 3,
        "sound": "default",
        "thread-id": MESSAGE.conversation_id,
    }


async def test_headers_for_apple_follow_the_push(
    fcm_provider: FcmProvider, fcm_server: FcmServer, clock: ManualClock
) -> None:
    for push in (MESSAGE, READ):
        await fcm_provider.send(TOKEN, push)
    urgent, read = [message["apns"]["headers"] for message in fcm_server.messages]
    assert urgent == {
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": str(clock.now_ms() // 1000 + 3600),
        "apns-collapse-id": "conversation-7",
    }
    assert (read["apns-push-type"], read["apns-priority"]) == ("background", "5")
    assert [message["android"]["priority"] for message in fcm_server.messages] == ["HIGH", "NORMAL"]


async def test_withdrawal_is_a_silent_message_that_replaces_the_notification(
    fcm_provider: FcmProvider, fcm_server: FcmServer
) -> None:
    assert isinstance(await fcm_provider.send(TOKEN, READ), Accepted)
    [message] = fcm_server.messages
    assert "notification" not in message
    assert message["data"]["kind"] == "read"
    assert message["android"]["collapse_key"] == "conversation-7"


async def test_long_text_is_cut_to_the_largest_message(fcm_provider: FcmProvider, fcm_server: FcmServer) -> None:
    outcome = await fcm_provider.send(TOKEN, replace(MESSAGE, title=LONG_TEXT, body=LONG_TEXT))
    assert isinstance(outcome, Accepted)
    shown = fcm_server.messages[0]["notification"]
    assert 3300 < len(json.dumps(shown, ensure_ascii=False).encode()) < 4096
    assert LONG_TEXT.startswith(shown["body"].removesuffix("…"))


@pytest.mark.parametrize("push", [MESSAGE, READ, replace(MESSAGE, body=LONG_TEXT)], ids=["message", "read", "long"])
async def test_encrypted_content_is_readable_by_the_device_alone(
    push: object, fcm_provider: FcmProvider, fcm_server: FcmServer
) -> None:
    assert isinstance(push, type(MESSAGE) | type(READ))
    key = DeviceKey.generate()
    outcome = await fcm_provider.send(replace(TOKEN, encryption_key=key.registered), push)
    assert isinstance(outcome, Accepted)
    [message] = fcm_server.messages
    content = key.open(message["data"].pop("encrypted"))
    assert content["seq"] == 12
    assert message["data"] == {}
    assert "notification" not in message
    assert "collapse_key" not in message["android"]
    for secret in ("Alice", "eight", "conversation-7", MESSAGE.conversation_id):
        assert secret not in json.dumps(message)
    if isinstance(push, type(MESSAGE)):
        assert message["android"]["priority"] == "HIGH"
        aps = message["apns"]["payload"]["aps"]
        assert aps == {"alert": {"body": "Neue Nachricht"}, "mutable-content": 1, "sound": "default"}
        assert push.body.startswith(content["body"].removesuffix("…"))


async def test_pushes_share_one_connection_and_one_access_token(
    fcm_provider: FcmProvider, fcm_server: FcmServer
) -> None:
    outcomes = await asyncio.gather(*(fcm_provider.send(TOKEN, MESSAGE) for _ in range(50)))
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    # The token endpoint is another host for Google; here it is the same.
    assert (fcm_server.connections, fcm_server.tokens_issued) == (1, 1)


async def test_access_token_is_renewed_before_its_end(
    fcm_provider: FcmProvider, fcm_server: FcmServer, clock: ManualClock
) -> None:
    for seconds, issued in ((0, 1), (3298, 1), (2, 2), (3298, 2), (2, 3)):
        clock.advance(seconds)
        assert isinstance(await fcm_provider.send(TOKEN, MESSAGE), Accepted)
        assert fcm_server.tokens_issued == issued


async def test_valid_access_token_is_used_while_none_is_issued(
    fcm_provider: FcmProvider, fcm_server: FcmServer, clock: ManualClock
) -> None:
    await fcm_provider.send(TOKEN, MESSAGE)
    clock.advance(3400)
    fcm_server.next_answers.append(Answer(503))
    assert isinstance(await fcm_provider.send(TOKEN, MESSAGE), Accepted)
    # The next attempt to renew it is made later.
    assert isinstance(await fcm_provider.send(TOKEN, MESSAGE), Accepted)
    assert fcm_server.tokens_issued == 1
    clock.advance(10)
    assert isinstance(await fcm_provider.send(TOKEN, MESSAGE), Accepted)
    assert fcm_server.tokens_issued == 2


@impatient
async def test_pushes_do_not_wait_for_the_renewal_of_a_valid_token(
    fcm_provider: FcmProvider, fcm_server: FcmServer, clock: ManualClock
) -> None:
    await fcm_provider.send(TOKEN, MESSAGE)
    clock.advance(3400)
    fcm_server.received.clear()
    fcm_server.next_answers.append(Fault.SILENCE)
    renewing = asyncio.create_task(fcm_provider.send(TOKEN, MESSAGE))
    await fcm_server.received.wait()
    assert isinstance(await fcm_provider.send(TOKEN, MESSAGE), Accepted)
    assert not renewing.done()
    assert isinstance(await renewing, Accepted)


async def test_refused_access_token_is_renewed_once_and_the_push_sent_again(
    fcm_provider: FcmProvider, fcm_server: FcmServer
) -> None:
    await fcm_provider.send(TOKEN, MESSAGE)
    fcm_server.access_tokens.clear()
    assert isinstance(await fcm_provider.send(TOKEN, MESSAGE), Accepted)
    assert fcm_server.tokens_issued == 2
    assert len(fcm_server.sends()) == 3


async def test_access_token_that_is_refused_again_is_refused(fcm_provider: FcmProvider, fcm_server: FcmServer) -> None:
    await fcm_provider.send(TOKEN, MESSAGE)
    issue = Answer.json(200, {"access_token": "unknown", "expires_in": 3599})
    fcm_server.next_answers.extend([fcm_error(401, "UNAUTHENTICATED"), issue])
    assert await fcm_provider.send(TOKEN, MESSAGE) == CredentialsRefused("UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer.json(400, {"error": "invalid_grant"}), CredentialsRefused("invalid_grant")),
        (Answer.json(401, {"error": "invalid_client"}), CredentialsRefused("invalid_client")),
        (Answer(403, b"<html>"), CredentialsRefused("HTTP 403")),
        (Answer(503), RetryLater("the token endpoint answered with HTTP 503")),
        (Answer(200, b"{}"), RetryLater("the token endpoint answered with HTTP 200")),
        (Fault.CLOSE, RetryLater("no answer from localhost: the connection was lost")),
    ],
    ids=["invalid grant", "invalid client", "403", "503", "no token", "closed"],
)
async def test_each_error_of_the_token_endpoint_has_its_outcome(
    answer: Answer | Fault, outcome: Outcome, fcm_provider: FcmProvider, fcm_server: FcmServer
) -> None:
    fcm_server.next_answers.append(answer)
    assert await fcm_provider.send(TOKEN, MESSAGE) == outcome
    assert fcm_server.sends() == []


@impatient
async def test_pushes_that_need_a_token_wait_for_one_request(
    fcm_provider: FcmProvider, fcm_server: FcmServer, clock: ManualClock
) -> None:
    fcm_server.next_answers.append(Fault.SILENCE)
    outcomes = await asyncio.gather(*(fcm_provider.send(TOKEN, MESSAGE) for _ in range(20)))
    assert set(outcomes) == {RetryLater("no answer from localhost: timed out")}
    assert len(fcm_server.requests) == 1
    clock.advance(10)
    assert isinstance(await fcm_provider.send(TOKEN, MESSAGE), Accepted)


async def test_refused_account_is_not_tried_for_each_push(
    fcm_provider: FcmProvider, fcm_server: FcmServer, clock: ManualClock
) -> None:
    fcm_server.next_answers.append(Answer.json(400, {"error": "invalid_grant"}))
    for _ in range(3):
        assert await fcm_provider.send(TOKEN, MESSAGE) == CredentialsRefused("invalid_grant")
    assert len(fcm_server.requests) == 1
    clock.advance(10)
    assert isinstance(await fcm_provider.send(TOKEN, MESSAGE), Accepted)


ERRORS: list[tuple[Answer, Outcome]] = [
    (fcm_error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), Rejected("INVALID_ARGUMENT")),
    (fcm_error(404, "NOT_FOUND", "UNREGISTERED"), TokenGone("UNREGISTERED")),
    (fcm_error(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), Rejected("SENDER_ID_MISMATCH")),
    (fcm_error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), RetryLater("QUOTA_EXCEEDED", QUOTA_DELAY_S)),
    (fcm_error(503, "UNAVAILABLE", "UNAVAILABLE"), RetryLater("UNAVAILABLE")),
    (fcm_error(500, "INTERNAL", "INTERNAL"), RetryLater("INTERNAL")),
    (fcm_error(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), CredentialsRefused("THIRD_PARTY_AUTH_ERROR")),
    (fcm_error(404, "NOT_FOUND"), Rejected("NOT_FOUND")),
    (fcm_error(429, "RESOURCE_EXHAUSTED"), RetryLater("RESOURCE_EXHAUSTED", QUOTA_DELAY_S)),
    (fcm_error(409, "ABORTED"), RetryLater("ABORTED")),
    (fcm_error(499, "CANCELLED"), RetryLater("CANCELLED")),
    (fcm_error(504, "DEADLINE_EXCEEDED"), RetryLater("DEADLINE_EXCEEDED")),
    (fcm_error(403, "PERMISSION_DENIED"), CredentialsRefused("PERMISSION_DENIED")),
    (fcm_error(400, "FAILED_PRECONDITION"), Rejected("FAILED_PRECONDITION")),
    (fcm_error(400, "OUT_OF_RANGE"), Rejected("OUT_OF_RANGE")),
    (fcm_error(501, "UNIMPLEMENTED"), Rejected("UNIMPLEMENTED")),
]


def test_table_has_every_code() -> None:
    # A 401 without a code of FCM has the access token renewed first; other tests show its outcome.
    assert {outcome.reason for _, outcome in ERRORS if not isinstance(outcome, Accepted)} == EFFECTS.keys() - {
        "UNAUTHENTICATED"
    }


@pytest.mark.parametrize(("answer", "outcome"), ERRORS, ids=lambda value: getattr(value, "reason", ""))
async def test_each_error_has_its_outcome(
    answer: Answer, outcome: Outcome, fcm_provider: FcmProvider, fcm_server: FcmServer
) -> None:
    await fcm_provider.send(TOKEN, MESSAGE)
    fcm_server.next_answers.append(answer)
    assert await fcm_provider.send(TOKEN, MESSAGE) == outcome
    assert len(fcm_server.sends()) == 2


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (
            fcm_error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", field="message.token"),
            TokenGone("INVALID_ARGUMENT"),
        ),
        (
            fcm_error(
                400,
                "INVALID_ARGUMENT",
                "INVALID_ARGUMENT",
                "The registration token is not a valid FCM registration token",
            ),
            TokenGone("INVALID_ARGUMENT"),
        ),
        (fcm_error(400, "INVALID_ARGUMENT", field="message.data[0].value"), Rejected("INVALID_ARGUMENT")),
        (fcm_error(429, "", "QUOTA_EXCEEDED", retry_after="7"), RetryLater("QUOTA_EXCEEDED", 7.0)),
        (fcm_error(503, "", "UNAVAILABLE", retry_after="0"), RetryLater("UNAVAILABLE", 0.0)),
        (
            fcm_error(503, "UNAVAILABLE", retry_after="Fri, 15 Jan 2027 08:00:30 GMT"),
            RetryLater("UNAVAILABLE", 30.0),
        ),
        (Answer(502, b"<html>Error 502 (Server Error)!!1</html>"), RetryLater("HTTP 502")),
        (Answer(403, b"<html>"), CredentialsRefused("HTTP 403")),
        (Answer(404, b"<html>"), Rejected("HTTP 404")),
        (Answer(302, headers={"location": "https://elsewhere.example/"}), Rejected("HTTP 302")),
        (fcm_error(400, "NEW_IN_OTHER_YEARS", "NEW_TOO"), Rejected("HTTP 400")),
        (Answer.json(500, {"error": "text"}), RetryLater("HTTP 500")),
        (Answer.json(400, {"error": {"details": "text", "status": 5}}), Rejected("HTTP 400")),
    ],
    ids=["field", "message", "data", "429", "now", "date", "502", "403", "404", "302", "unknown", "text", "odd"],
)
async def test_answers_beside_the_table_have_their_outcomes(
    answer: Answer, outcome: Outcome, fcm_provider: FcmProvider, fcm_server: FcmServer, clock: ManualClock
) -> None:
    await fcm_provider.send(TOKEN, MESSAGE)
    fcm_server.next_answers.append(answer)
    assert await fcm_provider.send(TOKEN, MESSAGE) == outcome


async def test_unknown_device_is_gone(fcm_provider: FcmProvider) -> None:
    assert await fcm_provider.send(FcmToken("device:other"), MESSAGE) == TokenGone("UNREGISTERED")


async def test_key_that_is_no_point_is_rejected(fcm_provider: FcmProvider, fcm_server: FcmServer) -> None:
    broken = replace(DeviceKey.generate().registered, public_key=b"\x04" + bytes(64))
    outcome = await fcm_provider.send(replace(TOKEN, encryption_key=broken), MESSAGE)
    assert outcome == Rejected("the encryption key of the device is not valid")
    assert fcm_server.requests == []


async def test_check_accepts_an_account_that_google_knows(fcm_provider: FcmProvider, fcm_server: FcmServer) -> None:
    await fcm_provider.check()
    [request] = fcm_server.sends()
    assert request.document()["validate_only"] is True
    assert fcm_server.messages == []


async def test_check_names_a_wrong_key(
    client: PushClient, account: ServiceAccount, fcm_server: FcmServer, clock: ManualClock
) -> None:
    other = replace(account, private_key=rsa.generate_private_key(public_exponent=65_537, key_size=2048))
    with pytest.raises(ConfigurationError, match=rf"refuses the service account {account.email} \(invalid_grant\)"):
        await FcmProvider(client, other, clock, url=fcm_server.url).check()


@pytest.mark.parametrize(("status", "code"), [(403, "PERMISSION_DENIED"), (404, "NOT_FOUND")])
async def test_check_names_missing_rights(
    status: int, code: str, fcm_provider: FcmProvider, fcm_server: FcmServer
) -> None:
    await fcm_provider.send(TOKEN, MESSAGE)
    fcm_server.next_answers.append(fcm_error(status, code))
    with pytest.raises(ConfigurationError, match=rf"\({code}\).*the role “Firebase Cloud Messaging API Admin”"):
        await fcm_provider.check()


async def test_check_passes_while_google_does_not_answer(
    client: PushClient, account: ServiceAccount, clock: ManualClock
) -> None:
    silent = replace(account, token_url="https://localhost:1/token")
    await FcmProvider(client, silent, clock).check()
