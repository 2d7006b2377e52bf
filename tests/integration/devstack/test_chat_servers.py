"""Real chat servers behind the door: they come, go and crash, and the door knows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import grpc
import pytest

from devstack.stack import Stack

pytestmark = [pytest.mark.integration, pytest.mark.e2e]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("chat-servers")
    with Stack(folder, 2, environment_of={"chat-2": {"PARLEY_LOG_FORMAT": "json"}}) as stack:
        yield stack


def test_all_are_led_to_after_the_start(stack: Stack) -> None:
    assert stack.layout.envoy.healthy_endpoints() == {server.address for server in stack.chat_servers}
    assert [server.name for server in stack.chat_servers] == ["chat-1", "chat-2"]
    assert {"mongod", "valkey", "etcd", "envoy", "chat-1", "chat-2"} == set(stack.processes)


def test_a_crashed_one_is_left_out_until_it_is_back(stack: Stack) -> None:
    first, second = stack.chat_servers
    first.kill()
    stack.wait_envoy_healthy()
    assert stack.layout.envoy.healthy_endpoints() == {second.address}
    first.start()
    first.wait_healthy()
    stack.wait_envoy_healthy()
    assert stack.layout.envoy.healthy_endpoints() == {first.address, second.address}


def test_one_more_is_led_to_and_one_less_is_forgotten(stack: Stack) -> None:
    third = stack.add_chat_server({"PARLEY_LOG_LEVEL": "debug"})
    assert third.name == "chat-3"
    assert third.address in stack.layout.envoy.healthy_endpoints()
    stack.remove_chat_server("chat-3")
    stack.wait_envoy_healthy()
    assert third.address not in stack.layout.envoy.healthy_endpoints()
    assert third.returncode == 0
    assert "chat-3" not in stack.processes


def test_they_end_when_asked(stack: Stack) -> None:
    server = stack.chat_servers[1]
    assert server.terminate() == 0
    server.start()
    server.wait_healthy()
    stack.wait_envoy_healthy()


async def test_a_stream_on_a_frozen_one_ends_so_that_its_device_can_move(stack: Stack) -> None:
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
