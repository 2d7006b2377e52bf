"""A stack whose table has a second service: its replicas, its routes, and one reflection for all services."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from devstack.errors import SetupError
from devstack.services import CHAT
from devstack.stack import Stack
from devstack.startup_summary import startup_summary
from servicekit.auth import TokenSigner
from tests.integration.devstack.echo_service import DESCRIPTOR, ECHO, NO_TOKEN, EchoMessage

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

# More than Envoy buffers of a request.
FRAME, FRAMES = bytes(64 << 10), 32


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("second-service"), 1, services=(CHAT, ECHO)) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def channel(stack: Stack) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(stack.door) as channel:
        yield channel


def metadata(stack: Stack, **headers: str) -> list[tuple[str, str]]:
    signer = TokenSigner(stack.signing_key_file.read_bytes(), issuer="parley", audience="parley")
    token, _ = signer.sign("a" * 32, "b" * 32)
    return [("authorization", f"Bearer {token}"), *((name.replace("_", "-"), each) for name, each in headers.items())]


def rpc(channel: grpc.aio.Channel, method: str) -> Any:
    """Return the callable of a method of the echo service."""
    described = DESCRIPTOR.methods_by_name[method]
    kinds = ["stream" if streams else "unary" for streams in (described.client_streaming, described.server_streaming)]
    make: Any = getattr(channel, "_".join(kinds))
    return make(f"/{DESCRIPTOR.full_name}/{method}")


def replica_of(answer: bytes) -> str:
    return str(EchoMessage.FromString(answer).replica)


async def replicas_called(stack: Stack, channel: grpc.aio.Channel, **headers: str) -> set[str]:
    echo, told = rpc(channel, "Echo"), metadata(stack, **headers)
    return {replica_of(await echo(b"", metadata=told, timeout=10)) for _ in range(30)}


async def test_stack_runs_the_replicas_of_the_table(stack: Stack) -> None:
    chat, first, second = (stack.processes[name] for name in ("chat-1", "echo-1", "echo-2"))
    assert stack.replicas("echo") == [first, second]
    assert stack.chat_servers == stack.replicas("chat") == [chat]
    assert all(process.running for process in (chat, first, second))
    assert stack.layout.envoy.healthy_endpoints("echo") == {first.address, second.address}
    assert stack.layout.envoy.healthy_endpoints("chat") == {chat.address}


async def test_summary_lists_every_replica(stack: Stack) -> None:
    text = startup_summary(stack)
    for replica in stack.replicas("echo"):
        assert f"{replica.address}  an echo server; metrics at http://{replica.metrics_address}/metrics" in text


async def test_calls_are_spread_over_replicas_whatever_home_they_name(stack: Stack, channel: grpc.aio.Channel) -> None:
    both = {replica.address for replica in stack.replicas("echo")}
    assert await replicas_called(stack, channel) == both
    assert await replicas_called(stack, channel, x_chat_server=min(both)) == both


async def test_only_the_open_method_needs_no_token(channel: grpc.aio.Channel) -> None:
    assert replica_of(await rpc(channel, NO_TOKEN)(b"", timeout=10))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rpc(channel, "Echo")(b"", timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_streams_pass_in_every_direction(stack: Stack, channel: grpc.aio.Channel) -> None:
    both = {replica.address for replica in stack.replicas("echo")}
    answers = [each async for each in rpc(channel, "Repeat")(b"", metadata=metadata(stack), timeout=10)]
    assert len(answers) == 3
    assert replica_of(answers[0]) in both
    conversation = rpc(channel, "Converse")(metadata=metadata(stack), timeout=10)
    for _ in range(2):
        await conversation.write(b"frame")
        assert replica_of(await conversation.read()) in both
    await conversation.done_writing()
    assert await conversation.code() is grpc.StatusCode.OK


async def test_client_stream_larger_than_the_buffer_passes(stack: Stack, channel: grpc.aio.Channel) -> None:
    answer = await rpc(channel, "Collect")([FRAME] * FRAMES, metadata=metadata(stack), timeout=20)
    assert int(replica_of(answer).split()[1]) == len(FRAME) * FRAMES


async def test_crashed_replica_is_skipped_and_chat_is_unaffected(stack: Stack, channel: grpc.aio.Channel) -> None:
    first, second = stack.replicas("echo")
    await asyncio.to_thread(first.kill)
    await asyncio.to_thread(stack.wait_envoy_healthy)
    assert await replicas_called(stack, channel) == {second.address}
    check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert await check(b"", timeout=10) == b"\x08\x01", "chat, which answers for all, is SERVING"
    first.start()
    await asyncio.to_thread(first.wait_healthy)
    await asyncio.to_thread(stack.wait_envoy_healthy)
    assert await replicas_called(stack, channel) == {first.address, second.address}


async def test_replica_is_added_up_to_the_maximum_and_removed(stack: Stack, channel: grpc.aio.Channel) -> None:
    third = await asyncio.to_thread(stack.add_replica, "echo")
    assert third.name == "echo-3"
    assert third.address in await replicas_called(stack, channel)
    with pytest.raises(SetupError, match="can run 3 echo servers, not 4"):
        await asyncio.to_thread(stack.add_replica, "echo")
    await asyncio.to_thread(stack.remove_replica, "echo-3")
    await asyncio.to_thread(stack.wait_envoy_healthy)
    assert third.returncode == 0
    assert third.address not in await replicas_called(stack, channel)


def grpcurl(address: str, *arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("grpcurl")), "-plaintext", address, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


async def test_every_server_lists_the_public_services_of_all(stack: Stack) -> None:
    public = {service.full_name for each in (CHAT, ECHO) for service in each.contract}
    expected = {*public, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    for address in (stack.door, *(each.address for name in ("chat", "echo") for each in stack.replicas(name))):
        assert set((await asyncio.to_thread(grpcurl, address, "list")).split()) == expected


@pytest.mark.parametrize(
    ("symbol", "line"),
    [
        (DESCRIPTOR.full_name, "rpc Converse ( stream .tests.echo.v1.EchoMessage )"),
        (EchoMessage.DESCRIPTOR.full_name, "string replica = 1;"),
        ("parley.chat.v1.ChatService", "rpc Connect ( stream .parley.chat.v1.ConnectRequest )"),
        ("parley.chat.v1.SendMessageRequest", "string conversation_id = "),
    ],
)
async def test_every_server_describes_the_services_of_all(stack: Stack, symbol: str, line: str) -> None:
    for address in (stack.door, stack.chat_servers[0].address, stack.replicas("echo")[0].address):
        assert line in await asyncio.to_thread(grpcurl, address, "describe", symbol)


async def test_internal_server_lists_only_its_own_services(stack: Stack) -> None:
    listed = await asyncio.to_thread(grpcurl, stack.chat_servers[0].internal_address, "list")
    services = {each for each in listed.split() if not each.startswith("grpc.")}
    names = ("AdminService", "ChatAdminService", "DirectoryService", "MeshService")
    assert services == {f"parley.internal.v1.{name}" for name in names}
