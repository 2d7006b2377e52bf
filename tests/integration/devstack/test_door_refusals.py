"""A call that Envoy itself refuses gets a status with a reason, as one that a server refuses."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable
from dataclasses import replace

import grpc
import pytest

from parley.chat.v1 import chat_pb2
from servicekit.auth import TokenSigner, generate_signing_key
from tests.eventually import eventually
from tests.integration.devstack.conftest import DoorWithStandIns
from tests.raw.browser import Browser
from tests.raw.refusal import Refusal, of_error

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

LOCATE = "/parley.chat.v1.ChatService/Locate"
UNSERVED = Refusal("UNIMPLEMENTED", "NOT_YET_SERVED", "this deployment does not serve this method")

MakeToken = Callable[[DoorWithStandIns], str]


def foreign_token(_: DoorWithStandIns) -> str:
    return TokenSigner(generate_signing_key(), issuer="parley", audience="parley").sign("a" * 32, "b" * 32)[0]


BAD_TOKENS: dict[str, tuple[str, MakeToken]] = {
    "no token": ("TOKEN_MISSING", lambda _: ""),
    "no JWT": ("TOKEN_INVALID", lambda _: "nonsense"),
    "another issuer": ("TOKEN_INVALID", lambda door: door.token(issuer="somebody")),
    "a foreign key": ("TOKEN_INVALID", foreign_token),
    "expired": ("TOKEN_EXPIRED", lambda door: door.token(lifetime=-100)),
    "another audience": ("TOKEN_WRONG_AUDIENCE", lambda door: door.token(audience="another")),
}


async def refusal_of(door: DoorWithStandIns, path: str, token: str | None = "", **headers: str) -> Refusal:
    """Return the refusal of a call with a valid token; `token` replaces it, None sends none."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await door.call(path, token=token, **headers)
    return of_error(error.value)


async def post(door: DoorWithStandIns, path: str) -> tuple[dict[str, str], bytes]:
    """Make a call of a browser; return the headers and the body of the response."""
    headers = {
        "content-type": "application/grpc-web+proto",
        "origin": "https://app.example",
        "authorization": f"Bearer {door.token()}",
    }

    def once() -> tuple[dict[str, str], bytes]:
        connection = http.client.HTTPConnection(door.stack.door, timeout=10)
        try:
            connection.request("POST", path, b"\x00\x00\x00\x00\x00", headers)
            response = connection.getresponse()
            return {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    return await asyncio.to_thread(once)


@pytest.mark.parametrize(("reason", "make_token"), BAD_TOKENS.values(), ids=BAD_TOKENS)
async def test_bad_token_is_refused_with_the_reason(door: DoorWithStandIns, reason: str, make_token: MakeToken) -> None:
    token = make_token(door)
    refusal = await refusal_of(door, LOCATE, token or None)
    assert refusal.code_and_reason == ("UNAUTHENTICATED", reason)
    stream = door.connect(authorization=f"Bearer {token}" if token else "none")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stream.read()
    assert of_error(error.value) == refusal
    assert await Browser(door.stack.door, token).refusal(chat_pb2.LocateRequest()) == refusal


async def test_call_without_servers_is_refused_with_a_delay(door: DoorWithStandIns) -> None:
    door.stack.set_endpoints("chat", [])
    await door.wait_until_healthy([])
    refusal = await refusal_of(door, LOCATE)
    assert replace(refusal, message="") == Refusal("UNAVAILABLE", "SERVICE_UNAVAILABLE", retry_after=1.0)
    assert await Browser(door.stack.door, door.token()).refusal(chat_pb2.LocateRequest()) == refusal


@pytest.mark.parametrize(
    "path",
    [
        "/unknown.v1.Service/Method",
        "/parley.chat.v2.ChatService/Locate",
        "/parley.internal.v1.MeshService/Exchange",
        "/parley.chat.v1.ChatService%2fLocate",
        "/parley.chat.v1.ChatService%5cLocate",
        "/parley.chat.v1.ChatService/../../unknown.v1.Service/Method",
        "/unknown//Method",
        "/",
        "/%2e%2e/%2e%2e",
        "/unknown/Method?query=1",
        "/unknown/Method%00",
    ],
)
async def test_path_of_no_method_is_unimplemented(door: DoorWithStandIns, path: str) -> None:
    assert await refusal_of(door, path) == UNSERVED


@pytest.mark.parametrize("path", ["/unknown.v1.Service/Method", "/parley.internal.v1.MeshService/Exchange", "/"])
async def test_browser_can_read_the_refusal_of_an_unknown_path(door: DoorWithStandIns, path: str) -> None:
    answer, _ = await post(door, path)
    assert answer["grpc-status"] == "12"
    assert answer["grpc-status-details-bin"]
    assert answer["access-control-allow-origin"] == "https://app.example"


@pytest.mark.parametrize("size", [1_000, 12_000, 15_000])
async def test_headers_within_the_limit_reach_the_server(door: DoorWithStandIns, size: int) -> None:
    told = await door.call(x_filler="x" * size)
    assert len(told["x-filler"]) == size


async def test_headers_beyond_the_limit_end_their_call_alone(door: DoorWithStandIns) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await door.call(x_filler="x" * 20_000)
    # Envoy resets the stream, and the library of the client makes the status.
    assert error.value.code() is grpc.StatusCode.INTERNAL
    assert (await door.call())["served_by"] in door.addresses


async def test_log_of_failed_calls_has_failures_only(door: DoorWithStandIns) -> None:
    log = door.stack.layout.log_path("envoy-failed-calls")

    def paths() -> list[str]:
        return [json.loads(line)["path"] for line in log.read_text().splitlines()]

    await refusal_of(door, "/first.Service/Method")
    await eventually(lambda: "/first.Service/Method" in paths())
    await door.call()
    assert b"grpc-status:0" in (await post(door, LOCATE))[1]
    left, flood = door.connect(), door.flood()
    await left.write(b"frame")
    await left.read()
    await flood.read()
    left.cancel()
    flood.cancel()
    refused = "/parley.chat.v1.ChatService/ListReaders"
    assert (await post(door, refused))[0]["grpc-status"] == "14"
    await refusal_of(door, "/last.Service/Method")
    await eventually(lambda: "/last.Service/Method" in paths())
    failed = paths()[paths().index("/first.Service/Method") + 1 :]
    assert sorted(failed) == ["/last.Service/Method", refused]
