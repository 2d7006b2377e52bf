"""Envoy itself answers calls of services that the deployment does not run."""

from __future__ import annotations

import asyncio
import base64
import http.client
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status

from devstack.contract import method_path
from tests.integration.devstack import conftest
from tests.integration.devstack.conftest import DoorWithStandIns
from tests.raw.browser import Browser
from tests.raw.calls import services
from tests.raw.refusal import Refusal, of_error, of_status

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

SERVED = {service.full_name for each in conftest.SERVED for service in each.contract}
UNSERVED = [method for service in services() if service.full_name not in SERVED for method in service.methods]
NOT_YET_SERVED = Refusal("UNIMPLEMENTED", "NOT_YET_SERVED", "this deployment does not serve this method")


async def refusal_of(door: DoorWithStandIns, method: MethodDescriptor, *tokens: str) -> Refusal:
    """Return the refusal of a call with one empty request, for any kind of streaming."""
    shape = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    make: Any = getattr(door.channel, shape)(method_path(method))
    metadata = [("authorization", f"Bearer {token}") for token in tokens]
    call = make([b""] if method.client_streaming else b"", metadata=metadata, timeout=10)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await (call.read() if method.server_streaming else call)
    return of_error(error.value)


@pytest.mark.parametrize("method", UNSERVED, ids=method_path)
async def test_native_client_reads_the_reason(door: DoorWithStandIns, method: MethodDescriptor) -> None:
    assert await refusal_of(door, method, door.token()) == NOT_YET_SERVED


@pytest.mark.parametrize("method", [each for each in UNSERVED if not each.client_streaming], ids=method_path)
async def test_browser_reads_the_reason(door: DoorWithStandIns, method: MethodDescriptor) -> None:
    browser = Browser(door.stack.door, door.token())
    assert await browser.refusal(GetMessageClass(method.input_type)()) == NOT_YET_SERVED


@pytest.mark.parametrize("method", UNSERVED, ids=method_path)
async def test_token_is_checked_first(door: DoorWithStandIns, method: MethodDescriptor) -> None:
    assert (await refusal_of(door, method)).code == "UNAUTHENTICATED"


@pytest.mark.parametrize("kind", ["application/grpc-web+proto", "application/grpc-web-text+proto"])
async def test_answer_to_a_browser_is_framed_and_exposed(door: DoorWithStandIns, kind: str) -> None:
    headers = {"origin": "https://app.example", "content-type": kind, "accept": kind}
    headers["authorization"] = f"Bearer {door.token()}"
    answer = await asyncio.to_thread(post, door.stack.door, method_path(UNSERVED[0]), headers)
    assert answer.status == 200
    assert (answer["content-type"], answer["grpc-status"]) == (kind, "12")
    details = answer["grpc-status-details-bin"]
    assert of_status(Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))) == NOT_YET_SERVED
    assert answer["access-control-allow-origin"] == "https://app.example"
    assert answer["access-control-expose-headers"] == "grpc-status, grpc-message, grpc-status-details-bin"


async def test_preflight_needs_no_token(door: DoorWithStandIns) -> None:
    headers = {"origin": "https://app.example", "access-control-request-method": "POST"}
    answer = await asyncio.to_thread(post, door.stack.door, method_path(UNSERVED[0]), headers, "OPTIONS")
    assert (answer.status, answer["access-control-allow-origin"]) == (200, "https://app.example")


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self._headers = response.headers

    def __getitem__(self, name: str) -> str:
        return self._headers[name]


def post(door: str, path: str, headers: dict[str, str], method: str = "POST") -> Answer:
    connection = http.client.HTTPConnection(door, timeout=10)
    try:
        connection.request(method, path, b"\x00\x00\x00\x00\x00", headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()
