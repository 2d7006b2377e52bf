"""The HTTP/2 client of the load generator, against gRPC's own server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from bench.load.http2_stream import DATA, FrameParser, Http2Stream, MessageParser, connection_preface, encode_frame
from tests.eventually import eventually

METHOD = "/bench.Echo/Talk"


class EchoServer:
    """A server that echoes each message, repeated `times`, and records the metadata of calls."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.address = ""
        self.server = grpc.aio.server()

    async def talk(self, messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        self.metadata = dict(context.invocation_metadata())
        async for message in messages:
            if message == b"end":
                return
            yield message * int(self.metadata.get("times", 1))

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return grpc.stream_stream_rpc_method_handler(self.talk) if details.method == METHOD else None


@pytest.fixture
async def server() -> AsyncIterator[EchoServer]:
    echo = EchoServer()
    echo.server.add_generic_rpc_handlers((echo,))  # type: ignore[arg-type]
    echo.address = f"127.0.0.1:{echo.server.add_insecure_port('127.0.0.1:0')}"
    await echo.server.start()
    yield echo
    await echo.server.stop(0)


class Caller:
    """A wire that records its received messages and ends."""

    def __init__(self, address: str, path: str = METHOD, **metadata: str) -> None:
        self.received: list[bytes] = []
        self.ends: list[str] = []
        self._address = address
        self.wire = Http2Stream(connection_preface(path, address, metadata), self.received.append, self.ends.append)

    async def connect(self) -> Http2Stream:
        host, _, port = self._address.rpartition(":")
        await asyncio.get_running_loop().create_connection(lambda: self.wire, host, int(port))
        return self.wire


async def test_messages_are_echoed_in_order(server: EchoServer) -> None:
    caller = Caller(server.address)
    wire = await caller.connect()
    sent = [f"message {number}".encode() for number in range(1000)]
    for message in sent:
        wire.send(message)
    await eventually(lambda: len(caller.received) == len(sent))
    assert caller.received == sent
    wire.close()
    assert caller.ends == []


async def test_metadata_of_any_length_arrives(server: EchoServer) -> None:
    metadata = {"short": "a", "authorization": "Bearer " + "x" * 5000, "edge": "y" * 127}
    caller = Caller(server.address, **metadata)
    (await caller.connect()).send(b"hello")
    await eventually(lambda: bool(caller.received))
    assert {name: server.metadata[name] for name in metadata} == metadata
    caller.wire.close()


async def test_response_larger_than_a_frame_is_reassembled(server: EchoServer) -> None:
    caller = Caller(server.address, times="1000")
    (await caller.connect()).send(b"0123456789" * 100)
    await eventually(lambda: bool(caller.received))
    assert caller.received == [b"0123456789" * 100_000]
    caller.wire.close()


async def test_sends_beyond_flow_control_windows_wait(server: EchoServer) -> None:
    caller = Caller(server.address)
    wire = await caller.connect()
    for _ in range(400):
        wire.send(b"z" * 10_000)
    await eventually(lambda: len(caller.received) == 400)
    wire.close()


@pytest.mark.parametrize("path", [METHOD, "/bench.Echo/Unknown"])
async def test_end_of_stream_is_reported_once(server: EchoServer, path: str) -> None:
    caller = Caller(server.address, path)
    (await caller.connect()).send(b"end")
    await eventually(lambda: bool(caller.ends))
    await server.server.stop(0)
    assert caller.ends == ["the server ended the stream"]


async def test_broken_connection_is_reported(server: EchoServer) -> None:
    relay = await asyncio.start_server(lambda _, writer: writer.transport.abort(), "127.0.0.1", 0)
    caller = Caller(f"127.0.0.1:{relay.sockets[0].getsockname()[1]}")
    await caller.connect()
    await eventually(lambda: bool(caller.ends))
    assert caller.ends[0].startswith("the connection broke")
    relay.close()


@pytest.mark.parametrize("cut", [FrameParser().feed, MessageParser().feed], ids=["frames", "messages"])
def test_input_arriving_byte_by_byte_is_reassembled(cut: Callable[[bytes], list[Any]]) -> None:
    message = b"\0\0\0\0\x05hello"
    data = encode_frame(DATA, 0, 1, message) if cut.__self__.__class__ is FrameParser else message  # type: ignore[attr-defined]
    found = [each for number in range(2 * len(data)) for each in cut((data * 2)[number : number + 1])]
    assert found == [(DATA, 0, 1, message) if data != message else b"hello"] * 2
