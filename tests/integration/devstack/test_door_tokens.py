"""Envoy admits calls with a valid token, and a few open calls without one."""

from __future__ import annotations

import asyncio
import json
from types import ModuleType

import grpc
import pytest

from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2
from parley.internal.v1 import directory_pb2, mesh_pb2, notify_pb2, personal_data_pb2, presence_report_pb2
from tests.eventually import eventually
from tests.integration.devstack.conftest import DoorWithStandIns

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

PUBLIC = [
    "/parley.chat.v1.ChatService/SendMessage",
    "/parley.chat.v1.ConversationService/CreateGroup",
    "/parley.chat.v1.AccountService/Logout",
]
OPEN = [
    "/parley.chat.v1.AccountService/Register",
    "/parley.chat.v1.AccountService/Login",
    "/parley.chat.v1.AccountService/RefreshToken",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
]

INTERNAL = (directory_pb2, mesh_pb2, notify_pb2, personal_data_pb2, presence_report_pb2)


def paths_of(*files: ModuleType) -> list[str]:
    """Return the paths of all methods of all services in these files of the contract."""
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    return [f"/{service.full_name}/{method.name}" for service in services for method in service.methods]


@pytest.mark.parametrize("method", PUBLIC)
async def test_call_needs_token_and_forwards_it(door: DoorWithStandIns, method: str) -> None:
    assert await door.refusal_code(method, token=None) is grpc.StatusCode.UNAUTHENTICATED
    token = door.token()
    assert (await door.call(method, token=token))["authorization"] == f"Bearer {token}"


@pytest.mark.parametrize("method", OPEN)
async def test_open_calls_need_no_token(door: DoorWithStandIns, method: str) -> None:
    assert (await door.call(method, token=None))["served_by"] in door.addresses


async def test_health_check_needs_no_token(door: DoorWithStandIns) -> None:
    check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = door.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert await check(b"", timeout=10) == b"\x08\x01", "SERVING"


async def test_token_in_query_string_is_ignored(door: DoorWithStandIns) -> None:
    method = f"/parley.chat.v1.ChatService/Locate?access_token={door.token()}"
    assert await door.refusal_code(method, token=None) is grpc.StatusCode.UNAUTHENTICATED


async def test_log_of_failed_calls_has_no_query_and_cuts_long_paths(door: DoorWithStandIns) -> None:
    log = door.stack.layout.log_path("envoy-failed-calls")
    name = "/logged.Service/" + "x" * 5000
    for path in ("/logged.Service/Get?access_token=secret", name):
        await door.refusal_code(path, token=None)

    def logged() -> list[str]:
        paths = [json.loads(line)["path"] for line in log.read_text().splitlines()]
        return [path for path in paths if path.startswith("/logged.")]

    await eventually(lambda: len(logged()) == 2)
    assert logged() == ["/logged.Service/Get", name[:256]]
    assert "secret" not in log.read_text()


@pytest.mark.parametrize(
    "path",
    [
        "/parley.chat.v1.AccountService/Login/../../parley.chat.v1.AccountService/Logout",
        "//parley.chat.v1.AccountService/Logout",
        "/grpc.health.v1.Health/../parley.chat.v1.ChatService/Locate",
        "/grpc.health.v1.Health/%2e%2e/parley.chat.v1.ChatService/Locate",
        "/grpc.health.v1.Health/..%2fparley.chat.v1.ChatService/Locate",
    ],
)
async def test_path_traversal_is_refused(door: DoorWithStandIns, path: str) -> None:
    assert await door.refusal_code(path, token=None) in {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,  # the path of no method
    }


@pytest.mark.parametrize("path", paths_of(*INTERNAL))
async def test_internal_services_are_unreachable(door: DoorWithStandIns, path: str) -> None:
    assert await door.refusal_code(path) is grpc.StatusCode.UNIMPLEMENTED


async def test_tested_calls_are_in_the_contract() -> None:
    public = {path for path in (*PUBLIC, *OPEN) if path.startswith("/parley.")}
    assert public <= set(paths_of(account_pb2, chat_pb2, conversation_pb2))
    assert len(paths_of(*INTERNAL)) >= 3


async def test_stream_without_token_is_refused(door: DoorWithStandIns) -> None:
    stream = door.connect(authorization="none")
    assert await stream.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_frames_pass_in_both_directions(door: DoorWithStandIns) -> None:
    stream = door.connect()
    for frame in (b"one", b"two"):
        await stream.write(frame)
        assert await stream.read() == frame
    await stream.done_writing()
    assert await stream.code() is grpc.StatusCode.OK


async def test_stalled_stream_does_not_block_other_streams_of_connection(door: DoorWithStandIns) -> None:
    stalled = [door.flood() for _ in range(20)]
    for stream in stalled:
        await stream.read()
    async with asyncio.timeout(10):
        for _ in range(20):
            await door.call()
    for stream in stalled:
        stream.cancel()
