"""Connections to providers that fail: each failure ends within the limits, and the next push goes through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from notify_service.model.push import Accepted, ApnsToken, FcmToken, Outcome, RetryLater
from notify_service.providers.apns import ApnsProvider
from notify_service.providers.circuit_breakers import PAUSE_S, UNREACHABLE_IN_A_ROW
from notify_service.providers.client import PushClient
from notify_service.providers.connections import DEFAULT_LIMITS, ProviderUnreachable
from notify_service.providers.fcm import FcmProvider
from notify_service.providers.web_push import WebPushProvider
from tests.clock import ManualClock
from tests.eventually import run_ready
from tests.integration.notify.providers.conftest import IMPATIENT, impatient
from tests.integration.notify.providers.pushes import MESSAGE
from tests.push_servers.apns import TOPIC, ApnsServer
from tests.push_servers.authority import Authority
from tests.push_servers.fcm import FcmServer
from tests.push_servers.http2_server import Answer, Fault, Http2Server, Request
from tests.push_servers.web_push import WebPushServer

pytestmark = pytest.mark.integration

LOST = "no answer from localhost: the connection was lost"
TIMED_OUT = "no answer from localhost: timed out"
FAILED = "no answer from localhost: the connection failed"


def respond(request: Request) -> Answer:
    return Answer(200, request.body)


@pytest.fixture
async def server(authority: Authority) -> AsyncIterator[Http2Server]:
    async with Http2Server(authority.server_context(), respond) as server:
        yield server


async def post(client: PushClient, server: Http2Server, body: bytes = b"push") -> bytes:
    answer = await client.post(f"{server.url}/path", {"content-type": "text/plain"}, body)
    assert answer.status == 200
    return answer.body


async def refusal(client: PushClient, server: Http2Server) -> str:
    with pytest.raises(ProviderUnreachable) as caught:
        await post(client, server)
    return str(caught.value)


async def test_refused_connection_is_reported(client: PushClient, server: Http2Server) -> None:
    await server.stop()
    assert await refusal(client, server) == FAILED


async def test_certificate_of_an_unknown_authority_is_refused(server: Http2Server, clock: ManualClock) -> None:
    client = PushClient(clock)
    assert await refusal(client, server) == FAILED
    assert server.requests == []
    await client.close()


async def test_certificate_of_another_name_is_refused(client: PushClient, server: Http2Server) -> None:
    with pytest.raises(ProviderUnreachable, match=r"no answer from 127\.0\.0\.1: the connection failed"):
        await client.post(server.url.replace("localhost", "127.0.0.1"), {}, b"push")


@impatient
async def test_server_that_never_answers_times_out_and_its_connection_is_left(
    client: PushClient, server: Http2Server
) -> None:
    server.next_answers.append(Fault.SILENCE)
    began = time.monotonic()
    assert await refusal(client, server) == TIMED_OUT
    assert time.monotonic() - began < IMPATIENT.total_s + 3
    assert await post(client, server) == b"push"
    assert server.connections == 2


@impatient
async def test_server_that_accepts_and_says_nothing_times_out(client: PushClient) -> None:
    silent = await asyncio.start_server(lambda reader, writer: None, "localhost", 0)
    port = silent.sockets[0].getsockname()[1]
    began = time.monotonic()
    with pytest.raises(ProviderUnreachable):
        await client.post(f"https://localhost:{port}/", {}, b"push")
    assert time.monotonic() - began < IMPATIENT.total_s + 3
    silent.close()


@pytest.mark.parametrize("fault", [Fault.CLOSE, Fault.GOAWAY])
async def test_connection_that_ends_during_a_request_is_lost_and_replaced(
    fault: Fault, client: PushClient, server: Http2Server
) -> None:
    server.next_answers.append(fault)
    assert await refusal(client, server) == LOST
    assert await post(client, server) == b"push"
    assert server.connections == 2


async def test_request_that_goaway_calls_unhandled_is_sent_on_a_new_connection(
    client: PushClient, server: Http2Server
) -> None:
    await post(client, server)
    server.next_answers.append(Fault.REFUSE_WITH_GOAWAY)
    assert await post(client, server, b"second") == b"second"
    assert [request.connection for request in server.requests] == [1, 1, 2]


async def test_stream_that_is_reset_is_lost_alone(client: PushClient, server: Http2Server) -> None:
    server.next_answers.append(Fault.RESET_STREAM)
    assert await refusal(client, server) == LOST
    assert await post(client, server) == b"push"
    assert server.connections == 1


@pytest.mark.parametrize("goaway", [True, False])
async def test_connection_that_ended_while_idle_is_replaced(
    goaway: bool, client: PushClient, server: Http2Server
) -> None:
    await post(client, server)
    [connection] = server.open_connections
    await connection.close(goaway=goaway)
    await run_ready()
    assert await post(client, server) == b"push"
    assert server.connections == 2


@impatient
async def test_request_without_an_answer_leaves_the_others_of_its_connection_alone(
    client: PushClient, server: Http2Server
) -> None:
    await post(client, server)
    server.next_answers.append(Fault.SILENCE)
    server.received.clear()
    silent = asyncio.create_task(refusal(client, server))
    await server.received.wait()
    while not silent.done():
        assert await post(client, server) == b"push"
    assert await silent == TIMED_OUT
    assert await post(client, server) == b"push"


@impatient
async def test_connection_whose_streams_are_all_unanswered_is_replaced(
    client: PushClient, authority: Authority
) -> None:
    async with Http2Server(authority.server_context(), respond, max_streams=2) as server:
        for _ in range(2):
            server.next_answers.append(Fault.SILENCE)
            server.received.clear()
            silent = asyncio.create_task(refusal(client, server))
            await server.received.wait()
            while not silent.done():
                assert await post(client, server) == b"push"
        assert server.connections == 2
        await client.close()


async def test_silent_host_takes_no_place_of_another_host(authority: Authority, clock: ManualClock) -> None:
    limits = replace(DEFAULT_LIMITS, requests=4, requests_per_host=3)
    client = PushClient(clock, ca_file=authority.ca_file, limits=limits)
    context = authority.server_context()
    async with Http2Server(context, respond) as silent, Http2Server(context, respond) as other:
        silent.next_answers.extend([Fault.SILENCE] * 8)
        waiting = [asyncio.create_task(post(client, silent)) for _ in range(8)]
        while len(silent.requests) < 3:
            silent.received.clear()
            await silent.received.wait()
        assert await asyncio.wait_for(post(client, other), DEFAULT_LIMITS.read_s / 2) == b"push"
        assert len(silent.requests) == 3
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await client.close()


async def test_wait_for_a_place_is_no_silence_of_the_provider(authority: Authority, clock: ManualClock) -> None:
    limits = replace(DEFAULT_LIMITS, requests_per_host=1, wait_s=0.1)
    client = PushClient(clock, ca_file=authority.ca_file, limits=limits)
    async with Http2Server(authority.server_context(), respond) as server:
        server.next_answers.append(Fault.SILENCE)
        silent = asyncio.create_task(post(client, server))
        await server.received.wait()
        for _ in range(UNREACHABLE_IN_A_ROW):
            assert await refusal(client, server) == "not sent to localhost: too many requests wait for answers"
        silent.cancel()
        await asyncio.gather(silent, return_exceptions=True)
        assert await post(client, server) == b"push"
        await client.close()


@impatient
async def test_silent_host_is_paused_and_probed(client: PushClient, server: Http2Server, clock: ManualClock) -> None:
    server.next_answers.extend([Fault.SILENCE] * UNREACHABLE_IN_A_ROW)
    silent = [refusal(client, server) for _ in range(UNREACHABLE_IN_A_ROW)]
    assert await asyncio.gather(*silent) == [TIMED_OUT] * UNREACHABLE_IN_A_ROW
    assert await refusal(client, server) == "the provider does not answer"
    assert len(server.requests) == UNREACHABLE_IN_A_ROW
    clock.advance(PAUSE_S)
    assert await post(client, server) == b"push"
    assert await post(client, server) == b"push"


async def test_endless_answer_is_read_to_the_limit(client: PushClient, server: Http2Server) -> None:
    server.next_answers.append(Answer(200, b"x" * 60_000, endless=True))
    assert await post(client, server) == b"x" * DEFAULT_LIMITS.answer_bytes
    assert await post(client, server) == b"push"


FAILURES: list[tuple[Fault, str]] = [(Fault.SILENCE, TIMED_OUT), (Fault.CLOSE, LOST), (Fault.GOAWAY, LOST)]


@impatient
@pytest.mark.parametrize(("fault", "reason"), FAILURES, ids=lambda value: getattr(value, "name", ""))
async def test_apns_push_without_an_answer_may_be_retried(
    fault: Fault, reason: str, apns_provider: ApnsProvider, apns_server: ApnsServer
) -> None:
    apns_server.devices["ab" * 32] = TOPIC
    token = ApnsToken("ab" * 32, TOPIC)
    apns_server.next_answers.append(fault)
    first = await apns_provider.send(token, MESSAGE)
    await _assert_retry(first, reason, await apns_provider.send(token, MESSAGE))


@impatient
@pytest.mark.parametrize(("fault", "reason"), FAILURES, ids=lambda value: getattr(value, "name", ""))
async def test_fcm_push_without_an_answer_may_be_retried(
    fault: Fault, reason: str, fcm_provider: FcmProvider, fcm_server: FcmServer
) -> None:
    token = FcmToken("device:one")
    fcm_server.devices.add(token.token)
    await fcm_provider.send(token, MESSAGE)
    fcm_server.next_answers.append(fault)
    first = await fcm_provider.send(token, MESSAGE)
    await _assert_retry(first, reason, await fcm_provider.send(token, MESSAGE))


@impatient
@pytest.mark.parametrize(("fault", "reason"), FAILURES, ids=lambda value: getattr(value, "name", ""))
async def test_web_push_without_an_answer_may_be_retried(
    fault: Fault, reason: str, web_push_provider: WebPushProvider, web_push_server: WebPushServer
) -> None:
    subscription = web_push_server.subscribe("alice")
    web_push_server.next_answers.append(fault)
    first = await web_push_provider.send(subscription, MESSAGE)
    await _assert_retry(first, reason, await web_push_provider.send(subscription, MESSAGE))


async def _assert_retry(first: Outcome, reason: str, second: Outcome) -> None:
    assert first == RetryLater(reason)
    assert isinstance(second, Accepted)
