"""Web Push: pushes, identification and errors, against a server that decrypts with another implementation."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from notify_service.model.push import (
    Accepted,
    CredentialsRefused,
    Outcome,
    Rejected,
    RetryLater,
    TokenGone,
)
from notify_service.providers.client import PushClient
from notify_service.providers.push_hosts import PushHosts
from notify_service.providers.vapid import VapidKey
from notify_service.providers.web_push import WebPushProvider
from notify_service.providers.web_push_outcomes import EFFECTS
from tests.clock import ManualClock
from tests.integration.notify.providers.pushes import LONG_TEXT, MESSAGE, READ
from tests.push_servers.authority import Authority
from tests.push_servers.http2_server import Answer
from tests.push_servers.web_push import WebPushServer

pytestmark = pytest.mark.integration


async def test_notification_is_decrypted_by_the_browser(
    web_push_provider: WebPushProvider, web_push_server: WebPushServer
) -> None:
    outcome = await web_push_provider.send(web_push_server.subscribe("alice"), MESSAGE)
    assert outcome == Accepted(f"{web_push_server.url}/message/1")
    assert list(web_push_server.shown.values()) == [
        {
            "kind": "message",
            "conversation_id": MESSAGE.conversation_id,
            "seq": 12,
            "collapse_id": "conversation-7",
            "badge": 3,
            "title": "Alice",
            "body": MESSAGE.body,
        }
    ]
    [request] = web_push_server.requests
    assert (request.headers["ttl"], request.headers["urgency"]) == ("3600", "high")


async def test_withdrawal_replaces_the_notification(
    web_push_provider: WebPushProvider, web_push_server: WebPushServer
) -> None:
    subscription = web_push_server.subscribe("alice")
    for push in (MESSAGE, READ):
        assert isinstance(await web_push_provider.send(subscription, push), Accepted)
    [shown] = web_push_server.shown.values()
    assert (shown["kind"], shown["seq"], shown["badge"]) == ("read", 12, 0)
    assert [request.headers["urgency"] for request in web_push_server.requests] == ["high", "normal"]


async def test_topics_differ_between_conversations_and_subscriptions(
    web_push_provider: WebPushProvider, web_push_server: WebPushServer
) -> None:
    alice, bob = web_push_server.subscribe("alice"), web_push_server.subscribe("bob")
    await web_push_provider.send(alice, MESSAGE)
    await web_push_provider.send(bob, MESSAGE)
    await web_push_provider.send(alice, replace(MESSAGE, collapse_id="conversation-8"))
    assert len({topic for _, topic in web_push_server.shown}) == 3


async def test_long_text_is_cut_to_the_largest_body(
    web_push_provider: WebPushProvider, web_push_server: WebPushServer
) -> None:
    push = replace(MESSAGE, title=LONG_TEXT, body=LONG_TEXT)
    assert isinstance(await web_push_provider.send(web_push_server.subscribe("alice"), push), Accepted)
    assert len(web_push_server.requests[0].body) == 4096
    [shown] = web_push_server.shown.values()
    assert LONG_TEXT.startswith(shown["body"].removesuffix("…"))


async def test_bodies_of_different_short_texts_have_one_size(
    web_push_provider: WebPushProvider, web_push_server: WebPushServer
) -> None:
    subscription = web_push_server.subscribe("alice")
    for body in ("Yes", "No", "I cannot say yet"):
        await web_push_provider.send(subscription, replace(MESSAGE, body=body))
    assert len({len(request.body) for request in web_push_server.requests}) == 1


async def test_identification_is_signed_once_for_an_origin_until_it_is_due(
    web_push_provider: WebPushProvider, web_push_server: WebPushServer, clock: ManualClock
) -> None:
    subscription = web_push_server.subscribe("alice")
    for hours in (0, 10.9, 0.2, 10):
        clock.advance(hours * 3600)
        assert isinstance(await web_push_provider.send(subscription, MESSAGE), Accepted)
    used = [request.headers["authorization"] for request in web_push_server.requests]
    assert [used[0] == used[1], used[1] == used[2], used[2] == used[3]] == [True, False, True]


async def test_identification_names_the_origin_and_the_contact(
    web_push_provider: WebPushProvider, web_push_server: WebPushServer, clock: ManualClock
) -> None:
    await web_push_provider.send(web_push_server.subscribe("alice"), MESSAGE)
    token = web_push_server.requests[0].headers["authorization"].removeprefix("vapid t=").partition(",")[0]
    claims = jwt.decode(token, options={"verify_signature": False})
    expires_s = clock.now_ms() // 1000 + 12 * 3600
    assert claims == {"aud": web_push_server.url, "exp": expires_s, "sub": "mailto:push@example.org"}


async def test_subscription_of_another_key_is_refused(
    client: PushClient, web_push_server: WebPushServer, clock: ManualClock
) -> None:
    other = VapidKey(ec.generate_private_key(ec.SECP256R1()), "mailto:push@example.org")
    provider = WebPushProvider(client, other, PushHosts([f"localhost:{web_push_server.port}"]), clock)
    assert await provider.send(web_push_server.subscribe("alice"), MESSAGE) == CredentialsRefused("HTTP 403")


async def test_pushes_share_one_connection(web_push_provider: WebPushProvider, web_push_server: WebPushServer) -> None:
    subscriptions = [web_push_server.subscribe(f"user-{number}") for number in range(40)]
    outcomes = await asyncio.gather(*(web_push_provider.send(each, MESSAGE) for each in subscriptions))
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert web_push_server.connections == 1


ERRORS: list[tuple[Answer, Outcome]] = [
    (Answer(400), Rejected("HTTP 400")),
    (Answer(401), CredentialsRefused("HTTP 401")),
    (Answer(403), CredentialsRefused("HTTP 403")),
    (Answer(404), TokenGone("HTTP 404")),
    (Answer(406), RetryLater("HTTP 406")),
    (Answer(408), RetryLater("HTTP 408")),
    (Answer(410), TokenGone("HTTP 410")),
    (Answer(413), Rejected("HTTP 413")),
    (Answer(429), RetryLater("HTTP 429")),
    (Answer(429, headers={"retry-after": "120"}), RetryLater("HTTP 429", 120.0)),
    (Answer(429, headers={"retry-after": "soon"}), RetryLater("HTTP 429")),
    (Answer(500), RetryLater("HTTP 500")),
    (Answer(502, b"<html>"), RetryLater("HTTP 502")),
    (Answer(503, headers={"retry-after": "Fri, 15 Jan 2027 08:01:00 GMT"}), RetryLater("HTTP 503", 60.0)),
    (Answer(503, headers={"retry-after": "Fri, 15 Jan 2021 08:01:00 GMT"}), RetryLater("HTTP 503", 0.0)),
    (Answer(301, headers={"location": "https://localhost/"}), Rejected("HTTP 301: redirects are not followed")),
    (Answer(307, headers={"location": "http://127.0.0.1/"}), Rejected("HTTP 307: redirects are not followed")),
    (Answer(418), Rejected("HTTP 418")),
    (Answer.json(410, {"code": 410, "errno": 106}), TokenGone("HTTP 410, errno 106")),
    (Answer.json(403, {"reason": "BadJwtToken"}), CredentialsRefused("HTTP 403, BadJwtToken")),
    (Answer.json(400, {"reason": "the address https://push.example/secret"}), Rejected("HTTP 400")),
    (Answer.json(401, {"code": 401, "errno": 109, "message": "…"}), CredentialsRefused("HTTP 401, errno 109")),
]


def test_table_has_every_status() -> None:
    assert {answer.status for answer, _ in ERRORS} >= EFFECTS.keys()


@pytest.mark.parametrize(("answer", "outcome"), ERRORS, ids=lambda value: getattr(value, "reason", ""))
async def test_each_error_has_its_outcome(
    answer: Answer, outcome: Outcome, web_push_provider: WebPushProvider, web_push_server: WebPushServer
) -> None:
    web_push_server.next_answers.append(answer)
    assert await web_push_provider.send(web_push_server.subscribe("alice"), MESSAGE) == outcome
    assert len(web_push_server.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_each_success_is_accepted(
    status: int, web_push_provider: WebPushProvider, web_push_server: WebPushServer
) -> None:
    web_push_server.next_answers.append(Answer(status))
    assert await web_push_provider.send(web_push_server.subscribe("alice"), MESSAGE) == Accepted()


async def test_cookie_of_a_push_service_is_not_sent_again(
    web_push_provider: WebPushProvider, web_push_server: WebPushServer
) -> None:
    subscription = web_push_server.subscribe("alice")
    web_push_server.next_answers.append(Answer(201, headers={"set-cookie": "user=alice; Path=/"}))
    for _ in range(2):
        await web_push_provider.send(subscription, MESSAGE)
    assert "cookie" not in web_push_server.requests[1].headers


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "other.localhost", "user@localhost"])
async def test_host_that_is_not_allowed_is_not_called(
    host: str, web_push_provider: WebPushProvider, web_push_server: WebPushServer
) -> None:
    subscription = web_push_server.subscribe("alice")
    moved = replace(subscription, endpoint=subscription.endpoint.replace("localhost", host))
    outcome = await web_push_provider.send(moved, MESSAGE)
    assert outcome == Rejected("this deployment does not allow the host of the subscription")
    assert web_push_server.connections == 0


async def test_key_that_is_no_point_is_rejected(
    web_push_provider: WebPushProvider, web_push_server: WebPushServer
) -> None:
    subscription = web_push_server.subscribe("alice")
    broken = replace(subscription.encryption_key, public_key=b"\x04" + bytes(64))
    outcome = await web_push_provider.send(replace(subscription, encryption_key=broken), MESSAGE)
    assert outcome == Rejected("the encryption key of the device is not valid")


async def test_push_service_without_http2_is_served(
    authority: Authority, client: PushClient, vapid_key: VapidKey, web_push_server: WebPushServer, clock: ManualClock
) -> None:
    """UnifiedPush servers may speak HTTP/1.1 alone, though RFC 8030 wants HTTP/2."""
    received = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    tls = authority.server_context(["http/1.1"])
    server = await asyncio.start_server(serve, "localhost", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    provider = WebPushProvider(client, vapid_key, PushHosts([f"localhost:{port}"]), clock)
    endpoint = f"https://localhost:{port}/UP?id=1"
    outcome = await provider.send(replace(web_push_server.subscribe("alice"), endpoint=endpoint), MESSAGE)
    await client.close()
    server.close()
    assert outcome == Accepted()
    assert (await received).startswith(b"POST /UP?id=1 HTTP/1.1\r\n")
