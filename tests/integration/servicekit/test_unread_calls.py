"""Calls of a client that reads nothing are bounded, and reset, so that they do not hold memory of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
import pytest

from parley.chat.v1 import account_pb2, chat_pb2
from servicekit.auth import Claims
from servicekit.clock import SystemClock
from servicekit.open_streams import EXPIRY_GRACE_S, MAX_DEVICE_STREAMS, OpenStreams
from servicekit.rpc import ByteStream, Call, Metadata, service_handler
from servicekit.server import Server
from servicekit.unary_calls import MAX_UNREAD_BYTES, UnaryCalls
from tests.eventually import eventually
from tests.raw.refusal import Refusal, of_error
from tests.servicers import PartialServicer

CHAT = chat_pb2.DESCRIPTOR.services_by_name["ChatService"]
ACCOUNT = account_pb2.DESCRIPTOR.services_by_name["AccountService"]
LIST = "/parley.chat.v1.ChatService/ListEntries"
CONNECT = "/parley.chat.v1.ChatService/Connect"
EXPORT = "/parley.chat.v1.AccountService/ExportAccount"
MB = 1024 * 1024
REQUEST = chat_pb2.ListEntriesRequest(
    fetch=chat_pb2.Fetch(ranges=[chat_pb2.EntryRange(conversation_id="c" * 32)])
).SerializeToString()
# Without this option the window of a connection grows with what is read on it.
OPTIONS = [("grpc.http2.bdp_probe", 0)]
RATE_LIMITED = ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
RESET = "CANCELLED"


class FloodingServicer(PartialServicer):
    """A servicer whose answers are larger than what a connection holds for a client that reads nothing."""

    def __init__(self) -> None:
        self.serving = 0
        self.connected = 0

    async def ListEntries(self, request: object, call: Call) -> bytes:
        return bytes(MB)

    async def ExportAccount(self, request: object, call: Call) -> AsyncIterator[bytes]:
        self.serving += 1
        try:
            while True:
                yield bytes(MB)
        finally:
            self.serving -= 1

    async def Connect(self, stream: ByteStream, call: Call) -> None:
        self.serving += 1
        self.connected += 1
        with suppress(TimeoutError):
            # Long enough for gRPC to take the bytes, on a busy machine as well.
            async with asyncio.timeout(0.5):
                await stream.write(bytes(MB))
        self.serving -= 1


def claims_of(metadata: Metadata) -> Claims:
    """Return the claims of a device, whose streams end in `seconds`."""
    expires_at = time.time() + float(metadata["seconds"]) - EXPIRY_GRACE_S
    return Claims("a" * 32, metadata["device"], expires_at)


class FloodingServer:
    """A server of a FloodingServicer, and a channel to it."""

    def __init__(self, unread_timeout_s: float) -> None:
        self.servicer = FloodingServicer()
        self.streams, self.calls = OpenStreams(SystemClock()), UnaryCalls(SystemClock())
        serve = partial(
            service_handler,
            servicer=self.servicer,
            authenticate=claims_of,
            streams=self.streams,
            calls=self.calls,
            unread_timeout_s=unread_timeout_s,
        )
        self._server = Server("127.0.0.1:0", [serve(CHAT), serve(ACCOUNT)], [CHAT.full_name])
        self.channel: grpc.aio.Channel

    async def __aenter__(self) -> FloodingServer:
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{await self._server.start()}", options=OPTIONS)
        await self.replace_newest_call()
        return self

    async def replace_newest_call(self) -> None:
        """Make a call: gRPC refers to the newest call of a server until the next one, also when it has ended."""
        assert len(await self.call_unread(LIST, device="d" * 32).read()) == MB

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self._server.stop(grace=0)

    def call_unread(self, method: str, *, device: str = "b" * 32, seconds: float = 600.0) -> Any:
        """Call a method as a stream, of which nothing is read."""
        call: Any = self.channel.unary_stream(method)
        return call(REQUEST if method == LIST else b"", metadata=(("device", device), ("seconds", str(seconds))))


async def end_of(call: Any) -> Refusal:
    """Return how a call failed of which nothing was left to read."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call.read()
    return of_error(failed.value)


async def test_answer_that_is_not_read_is_reset() -> None:
    async with FloodingServer(unread_timeout_s=0.5) as server:
        calls = [server.call_unread(LIST) for _ in range(3)]
        await eventually(lambda: server.calls._devices)
        # The device may call again: nothing of it is unread any more.
        await eventually(lambda: not server.calls._devices)
        await server.replace_newest_call()
        assert {(await end_of(call)).code for call in calls} == {RESET}
        answers = [await server.call_unread(LIST).read() for _ in range(2 * MAX_UNREAD_BYTES // MB)]
        assert {len(answer) for answer in answers} == {MB}


async def test_device_that_reads_no_answers_is_refused_and_others_are_not() -> None:
    async with FloodingServer(unread_timeout_s=60) as server:
        calls = [server.call_unread(LIST) for _ in range(20)]
        fits = MAX_UNREAD_BYTES // MB
        await eventually(lambda: sum(call.done() for call in calls) == len(calls) - fits)
        refused = [call for call in calls if call.done()]
        refusals = [await end_of(call) for call in refused]
        assert {refusal.code_and_reason for refusal in refusals} == {RATE_LIMITED}
        assert all(refusal.retry_after for refusal in refusals)
        assert len(await server.call_unread(LIST, device="c" * 32).read()) == MB


@pytest.mark.parametrize("cause", ["stall", "expiry", "drain"])
async def test_stream_that_is_not_read_ends(cause: str) -> None:
    async with FloodingServer(unread_timeout_s=0.5 if cause == "stall" else 1.0) as server:
        call = server.call_unread(EXPORT, seconds=0.2 if cause == "expiry" else 600)
        await eventually(lambda: server.servicer.serving == 1)
        if cause == "drain":
            server.streams.drain(0.1)
        await eventually(lambda: not server.streams._limiter._open)
        assert server.servicer.serving == 0
        await server.replace_newest_call()
        assert (await end_of(call)).code == RESET


@pytest.mark.parametrize(
    ("seconds", "reason"), [(600, ("RESOURCE_EXHAUSTED", "SLOW_CONSUMER")), (0.2, ("UNAUTHENTICATED", "TOKEN_EXPIRED"))]
)
async def test_client_that_reads_late_learns_why_its_stream_ended(seconds: float, reason: tuple[str, str]) -> None:
    async with FloodingServer(unread_timeout_s=0.8) as server:
        call = server.call_unread(EXPORT, seconds=seconds)
        await eventually(lambda: server.servicer.serving == 1)
        await eventually(lambda: server.servicer.serving == 0)
        assert len(await call.read()) == MB
        assert (await end_of(call)).code_and_reason == reason


async def test_ended_stream_counts_until_its_end_is_read() -> None:
    async with FloodingServer(unread_timeout_s=60) as server:
        unread = [server.call_unread(CONNECT) for _ in range(MAX_DEVICE_STREAMS)]
        await eventually(lambda: server.servicer.connected == MAX_DEVICE_STREAMS)
        await eventually(lambda: server.servicer.serving == 0)
        assert (await end_of(server.call_unread(CONNECT))).code_and_reason == RATE_LIMITED
        for call in unread:
            assert len(await call.read()) == MB
            assert await call.read() is grpc.aio.EOF
        assert len(await server.call_unread(CONNECT).read()) == MB
