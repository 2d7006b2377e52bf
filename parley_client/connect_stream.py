"""One `Connect` stream of a device, from its hello to its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc.aio

from parley.chat.v1 import chat_pb2
from parley_client.calls import auth_metadata
from parley_client.channel import Channel, ChatStream, timed_out
from parley_client.errors import ParleyError, TryLater, from_rpc, from_status

WELCOME_TIMEOUT_S = 5.0
# Heartbeat intervals without a frame after which the stream is dead.
MAX_SILENT_INTERVALS = 2.5


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """The server drains and asks the device to open another stream, in `delay_s` seconds, at `home`."""

    delay_s: float
    home: str


@dataclass(frozen=True, slots=True)
class RenewalNeeded:
    """The device itself needs another stream."""


ReplacementReason = DrainRequested | RenewalNeeded | ParleyError


class ConnectStream:
    """An open stream. `replacement_reason` resolves once another stream is needed; `retired` is set once it is open."""

    def __init__(self, call: ChatStream, welcome: chat_pb2.Welcome) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._reading_since: float | None = None
        self.welcome = welcome
        self.open_time = self.last_write_time = self._loop.time()
        self.retired = False
        self.closed = asyncio.Event()
        self.replacement_reason: asyncio.Future[ReplacementReason] = self._loop.create_future()

    @classmethod
    async def open(cls, channel: Channel, token: str, home: str, hello: chat_pb2.Hello) -> ConnectStream:
        """Open a stream and wait for its welcome. Raises ParleyError; after TimedOut the channel may be dead."""
        call = channel.connect(auth_metadata(token, home))
        try:
            async with asyncio.timeout(WELCOME_TIMEOUT_S):
                await call.write(chat_pb2.ConnectRequest(hello=hello))
                first = await _read_frame(call)
        except TimeoutError:
            call.cancel()
            raise timed_out("hello", WELCOME_TIMEOUT_S) from None
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The write failed because the stream has ended; reading returns its status.
            first = await _read_frame(call)
        except asyncio.CancelledError:
            call.cancel()
            raise
        if first is not None and first.HasField("welcome"):
            return cls(call, first.welcome)
        call.cancel()
        if first is not None and first.HasField("error"):
            raise from_status(first.error.status)
        raise TryLater("the stream ended before its welcome", code="UNAVAILABLE")

    @property
    def heartbeat_interval_s(self) -> float:
        """The heartbeat interval of the welcome, in seconds."""
        return self.welcome.heartbeat_interval.ToMilliseconds() / 1000 or 5.0

    async def read(self) -> chat_pb2.ConnectResponse | None:
        """Return the next frame; None: the stream ended without an error. Raises ParleyError."""
        self._reading_since = self._loop.time()
        try:
            return await _read_frame(self._call)
        finally:
            self._reading_since = None

    async def write(self, frame: chat_pb2.ConnectRequest) -> bool:
        """Write a frame; return False if the stream has ended, in which case `read` raises the error."""
        try:
            await self._call.write(frame)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return False
        self.last_write_time = self._loop.time()
        return True

    def request_replacement(self, reason: ReplacementReason) -> None:
        """Ask for another stream; only the first reason is kept."""
        if not self.replacement_reason.done():
            self.replacement_reason.set_result(reason)

    @property
    def silent_for_s(self) -> float:
        """The seconds for which a read has waited for a frame."""
        return 0.0 if self._reading_since is None else self._loop.time() - self._reading_since

    def is_dead(self) -> bool:
        """Return True if a read has waited for a frame for more than 2.5 heartbeat intervals."""
        return self.silent_for_s > MAX_SILENT_INTERVALS * self.heartbeat_interval_s

    async def retire(self) -> None:
        """Half-close the stream; outstanding frames can still be read."""
        self.retired = True
        if not self._call.done():
            await self._call.done_writing()

    def cancel(self) -> None:
        """Cancel the call."""
        self._call.cancel()


async def _read_frame(call: ChatStream) -> chat_pb2.ConnectResponse | None:
    try:
        frame = await call.read()
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) and task.cancelling():
            raise
        raise TryLater("the stream was cancelled", code="UNAVAILABLE") from None
    return frame if isinstance(frame, chat_pb2.ConnectResponse) else None
