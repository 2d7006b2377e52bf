"""Envoy follows real chat servers that start, stop and crash."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from devstack.stack import Stack

pytestmark = [pytest.mark.integration, pytest.mark.e2e]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("chat-servers")
    with Stack(folder, 2, environment_of={"chat-2": {"PARLEY_LOG_FORMAT": "json"}}) as stack:
        yield stack


def test_envoy_routes_to_all_servers_after_start(stack: Stack) -> None:
    assert stack.layout.envoy.healthy_endpoints("chat") == {server.address for server in stack.chat_servers}
    assert [server.name for server in stack.chat_servers] == ["chat-1", "chat-2"]
    stores = {"mongod", "valkey", "etcd", "seaweedfs", "envoy"}
    others = {"media-1", "presence-1", "presence-2", "notify-1", "notify-2"}
    assert stores | {"chat-1", "chat-2"} | others == set(stack.processes)


def test_only_the_owner_can_read_logs_and_data(stack: Stack) -> None:
    files = [file for name in ("logs", "data") for file in (stack.layout.folder / name).rglob("*") if file.is_file()]
    assert {file.parent.name for file in files} >= {"logs", "mongod"}
    assert [file for file in files if not (is_private(file) or is_private(file.parent))] == []


def is_private(path: Path) -> bool:
    return not path.stat().st_mode & 0o077


def test_crashed_server_is_skipped_until_restarted(stack: Stack) -> None:
    first, second = stack.chat_servers
    first.kill()
    stack.wait_envoy_healthy()
    assert stack.layout.envoy.healthy_endpoints("chat") == {second.address}
    first.start()
    first.wait_healthy()
    stack.wait_envoy_healthy()
    assert stack.layout.envoy.healthy_endpoints("chat") == {first.address, second.address}


def test_added_server_is_routed_to_and_removed_server_is_not(stack: Stack) -> None:
    third = stack.add_chat_server({"PARLEY_LOG_LEVEL": "debug"})
    assert third.name == "chat-3"
    assert third.address in stack.layout.envoy.healthy_endpoints("chat")
    stack.remove_replica("chat-3")
    stack.wait_envoy_healthy()
    assert third.address not in stack.layout.envoy.healthy_endpoints("chat")
    assert third.returncode == 0
    assert "chat-3" not in stack.processes


def test_server_terminates_cleanly(stack: Stack) -> None:
    server = stack.chat_servers[1]
    assert server.terminate() == 0
    server.start()
    server.wait_healthy()
    stack.wait_envoy_healthy()


async def test_stream_on_frozen_server_is_ended(stack: Stack) -> None:
    frozen = stack.chat_servers[0]
    async with grpc.aio.insecure_channel(stack.door) as channel:
        watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream("/grpc.health.v1.Health/Watch")
        stream = watch(b"", metadata=[("x-chat-server", frozen.address)])
        assert await stream.read() == b"\x08\x01", "SERVING"
        assert frozen.running
        frozen.freeze()
        try:
            async with asyncio.timeout(15):
                assert await stream.code() in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE}
        finally:
            frozen.resume()
    await asyncio.to_thread(stack.wait_envoy_healthy)
