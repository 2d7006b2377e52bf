"""A gRPC proxy between clients and the door that passes raw bytes and lets tests change the frames of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import grpc.aio
import jwt
from google.rpc.status_pb2 import Status

from parley.chat.v1 import chat_pb2
from tests.proxy.frame_faults import Caller, Rule
from tests.raw.stream import CONNECT

# What gRPC itself says about a connection; each of the two says its own.
_OWN = ("user-agent", "content-type", "te", "grpc-accept-encoding", "grpc-encoding", "accept-encoding")
_SERVER = [("grpc.so_reuseport", 0), ("grpc.max_concurrent_streams", 10_000)]
_CLIENT = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
_LOOPBACK = "127.0.0.1"

_HINT = "x-chat-server"


class ProxiedStream:
    """A `Connect` stream through the proxy: `caller` has the ids in its token, `hint` is its x-chat-server."""

    def __init__(self, caller: Caller | None, hint: str, context: Any) -> None:
        self.caller = caller
        self.hint = hint
        self.open = True
        self.ended = asyncio.Event()
        self._context = context
        self._writing = asyncio.Lock()
        self._requests: list[bytes] = []

    @property
    def requests(self) -> list[chat_pb2.ConnectRequest]:
        """The frames that the client has written, in order."""
        return [chat_pb2.ConnectRequest.FromString(frame) for frame in self._requests]

    async def write(self, frame: bytes) -> None:
        """Write a frame to the client."""
        # gRPC takes one frame at a time.
        async with self._writing:
            await self._context.write(frame)

    async def send_frame(self, **frame: Any) -> None:
        """Write a well-formed frame of the proxy's own to the client."""
        await self.write(chat_pb2.ConnectResponse(**frame).SerializeToString())

    async def end(self, status: Status) -> None:
        """End the stream on both sides, with a final error for the client."""
        await self.send_frame(error=chat_pb2.StreamError(status=status, final=True))
        self.ended.set()

    async def passed_up(self, requests: AsyncIterator[bytes], answered: Answered | None) -> AsyncIterator[bytes]:
        """Yield the frames to pass to the server."""
        async for frame in requests:
            self._requests.append(frame)
            if answered is None or not await answered(self, chat_pb2.ConnectRequest.FromString(frame)):
                yield frame


Answered = Callable[[ProxiedStream, chat_pb2.ConnectRequest], Awaitable[bool]]


class Proxy(grpc.GenericRpcHandler):
    """An async context manager; clients take `address` for the door.

    `rule` decides about the frames to clients, and may be changed at any time. `answered` is called with each frame
    of a client on streams opened from then on; the server does not get a frame for which it returns True. `streams`
    has all `Connect` streams so far, `calls` the method of every call. To the proxy all calls are streams in both
    directions, as they are on the wire.
    """

    def __init__(self, door: str, rule: Rule | None = None) -> None:
        self.rule = rule
        self.answered: Answered | None = None
        self.streams: list[ProxiedStream] = []
        self.calls: list[str] = []
        self.address = ""
        self._door = door
        self._server = grpc.aio.server(handlers=[self], options=_SERVER)

    async def __aenter__(self) -> Proxy:
        self._channel = grpc.aio.insecure_channel(self._door, options=_CLIENT)
        self.address = f"{_LOOPBACK}:{self._server.add_insecure_port(f'{_LOOPBACK}:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop listening and end every call in progress."""
        await self._server.stop(grace=None)
        await self._channel.close()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """Called by gRPC for each call."""
        self.calls.append(handler_call_details.method)
        return grpc.stream_stream_rpc_method_handler(self._passing(handler_call_details.method))

    @property
    def requests(self) -> list[chat_pb2.ConnectRequest]:
        """The frames of all clients on all streams, stream by stream."""
        return [request for stream in self.streams for request in stream.requests]

    async def send_to_all(self, **frame: Any) -> None:
        """Write a frame to every client that has a stream open."""
        for stream in self._open_streams():
            await stream.send_frame(**frame)

    async def end_all(self, status: Status) -> None:
        """End every stream that is open, with a final error for its client."""
        for stream in self._open_streams():
            await stream.end(status)

    def _open_streams(self) -> list[ProxiedStream]:
        return [stream for stream in self.streams if stream.open]

    def _passing(self, method: str) -> Any:
        return self._pass_stream if method == CONNECT else partial(self._pass_call, method)

    async def _pass_call(self, method: str, requests: Any, context: Any) -> None:
        call = self._begin(method, requests, context)
        try:
            await self._down(call, context, context.write)
        finally:
            call.cancel()

    async def _pass_stream(self, requests: Any, context: Any) -> None:
        metadata = _passed_on(context.invocation_metadata())
        stream = ProxiedStream(_caller(metadata), str(dict(metadata).get(_HINT, "")), context)
        self.streams.append(stream)

        async def write(frame: bytes) -> None:
            for each in [frame] if stream.caller is None or self.rule is None else self.rule.down(stream.caller, frame):
                await stream.write(each)

        call = self._begin(CONNECT, stream.passed_up(requests, self.answered), context)
        ended = asyncio.create_task(stream.ended.wait())
        down = asyncio.create_task(self._down(call, context, write))
        try:
            await asyncio.wait([down, ended], return_when=asyncio.FIRST_COMPLETED)
            if down.done():
                await down
        finally:
            stream.open = False
            call.cancel()
            ended.cancel()
            down.cancel()
            await asyncio.gather(ended, down, return_exceptions=True)

    def _begin(self, method: str, requests: Any, context: Any) -> Any:
        metadata = _passed_on(context.invocation_metadata())
        return self._channel.stream_stream(method)(requests, metadata=metadata, timeout=context.time_remaining())

    async def _down(self, call: Any, context: Any, write: Callable[[bytes], Awaitable[None]]) -> None:
        try:
            await context.send_initial_metadata(_passed_on(await call.initial_metadata()))
            while (frame := await call.read()) is not grpc.aio.EOF:
                await write(frame)
        except grpc.aio.AioRpcError:
            pass  # the status says it
        trailing, code, details = await call.trailing_metadata(), await call.code(), await call.details()
        context.set_trailing_metadata(_passed_on(trailing))
        if code is not grpc.StatusCode.OK:
            await context.abort(code, details or "", _passed_on(trailing))


def _passed_on(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((key, value) for key, value in metadata or () if key not in _OWN and not key.startswith(":"))


def _caller(metadata: tuple[tuple[str, str | bytes], ...]) -> Caller | None:
    """Return the user and device of the token, unverified: the server checks it."""
    bearer = next((str(value) for key, value in metadata if key == "authorization"), "")
    try:
        claims = jwt.decode(bearer.removeprefix("Bearer "), options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return None
    return Caller(claims["sub"], claims["did"])
