"""Browsers at Envoy: grpc-web, and the CORS headers for other origins."""

from __future__ import annotations

import asyncio
import http.client
import json
import struct
from collections.abc import Mapping

import pytest

from tests.integration.devstack.conftest import DoorWithStandIns

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

LOCATE = "/parley.chat.v1.ChatService/Locate"
ORIGIN = {"origin": "https://app.example"}
EMPTY_MESSAGE = b"\x00" + struct.pack(">I", 0)


class Response:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.body = answer.read()


async def send_request(
    door: DoorWithStandIns, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
) -> Response:
    def once() -> Response:
        connection = http.client.HTTPConnection(door.stack.door, timeout=10)
        try:
            connection.request(method, path, body, dict(headers))
            return Response(connection.getresponse())
        finally:
            connection.close()

    return await asyncio.to_thread(once)


async def post(door: DoorWithStandIns, **more: str) -> Response:
    headers = {**ORIGIN, "content-type": "application/grpc-web+proto", "x-grpc-web": "1", **more}
    return await send_request(door, "POST", LOCATE, headers, EMPTY_MESSAGE)


@pytest.mark.parametrize(
    "path", [LOCATE, "/parley.chat.v1.ChatService/Subscribe", "/parley.chat.v1.AccountService/Login"]
)
async def test_preflight_needs_no_token(door: DoorWithStandIns, path: str) -> None:
    wanted = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-grpc-web,x-chat-server",
    }
    answer = await send_request(door, "OPTIONS", path, {**ORIGIN, **wanted})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN["origin"]
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type", "x-grpc-web", "x-chat-server", "grpc-timeout"} <= set(allowed)
    assert "POST" in answer.headers["access-control-allow-methods"]


async def test_browser_call_exposes_status(door: DoorWithStandIns) -> None:
    answer = await post(door, authorization=f"Bearer {door.token()}", **{"x-chat-server": door.addresses[1]})
    assert answer.status == 200
    length = struct.unpack(">I", answer.body[1:5])[0]
    assert json.loads(answer.body[5 : 5 + length])["served_by"] == door.addresses[1]
    trailers = answer.body[5 + length :]
    assert trailers[0] == 0x80, "grpc-web sends trailers as a last frame"
    assert b"grpc-status:0" in trailers
    assert answer.headers["access-control-expose-headers"] == "grpc-status, grpc-message, grpc-status-details-bin"


async def test_browser_can_read_refusal(door: DoorWithStandIns) -> None:
    answer = await post(door)
    assert answer.headers["grpc-status"] == "16", "UNAUTHENTICATED"
    assert answer.headers["access-control-allow-origin"] == ORIGIN["origin"]
    assert "grpc-status" in answer.headers["access-control-expose-headers"]


async def test_plain_http_request_needs_token(door: DoorWithStandIns) -> None:
    assert (await send_request(door, "GET", "/", {})).status == 401
