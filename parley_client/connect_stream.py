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
# Foreground heartbeat intervals without an answer to a heartbeat after which the stream is dead.
MAX_UNANSWERED_INTERVALS = 1.5


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
        self._writing_since: float | None = None
        # The oldest heartbeat since the last frame that was read.
        self._unanswered_since: float | None = None
        self.welcome = welcome
        self.open_time = self._last_write_time = self._last_heartbeat_time = self._loop.time()
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

    def heartbeat_interval_s(self, activity: chat_pb2.Activity.ValueType) -> float:
        """Return the heartbeat interval of the welcome for a device in the foreground or background, in seconds."""
        if activity == chat_pb2.ACTIVITY_BACKGROUND:
            return self.welcome.background_heartbeat_interval.ToMilliseconds() / 1000 or 60.0
        return self.welcome.heartbeat_interval.ToMilliseconds() / 1000 or 5.0

    def time_until_heartbeat(self, activity: chat_pb2.Activity.ValueType) -> float:
        """Return the seconds until a heartbeat is due; 0 or less: now.

        It is due when nothing was written for an interval, because the server must hear the device, or when nothing was
        read, because the device must hear the server: other frames need not be answered.
        """
        quiet_since = self._last_write_time
        if self._reading_since is not None:
            quiet_since = max(self._last_heartbeat_time, min(self._last_write_time, self._reading_since))
        return quiet_since + self.heartbeat_interval_s(activity) - self._loop.time()

    async def read(self) -> chat_pb2.ConnectResponse | None:
        """Return the next frame; None: the stream ended without an error. Raises ParleyError."""
        self._reading_since = self._loop.time()
        try:
            return await _read_frame(self._call)
        finally:
            self._reading_since = self._unanswered_since = None

    async def write(self, frame: chat_pb2.ConnectRequest) -> bool:
        """Write a frame; return False if the stream has ended, in which case `read` raises the error."""
        self._writing_since = self._loop.time()
        try:
            await self._call.write(frame)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return False
        finally:
            self._writing_since = None
        self._last_write_time = self._loop.time()
        if frame.HasField("heartbeat"):
            self._last_heartbeat_time = self._last_write_time
            self._unanswered_since = self._unanswered_since or self._last_write_time
        return True

    def request_replacement(self, reason: ReplacementReason) -> None:
        """Ask for another stream; only the first reason is kept."""
        if not self.replacement_reason.done():
            self.replacement_reason.set_result(reason)

    @property
    def silent_for_s(self) -> float:
        """The seconds for which a read has waited for a frame although a heartbeat was written, or held up; 0: none."""
        asked_since = self._unanswered_since
        if asked_since is None and self._writing_since is not None:
            # A server that does not respond may hold up a write, and the heartbeat behind it.
            asked_since = self._writing_since + self.heartbeat_interval_s(chat_pb2.ACTIVITY_FOREGROUND)
        if self._reading_since is None or asked_since is None:
            return 0.0
        return max(0.0, self._loop.time() - max(self._reading_since, asked_since))

    @property
    def answer_timeout_s(self) -> float:
        """The seconds within which the server answers a heartbeat, also one of a device in the background."""
        return MAX_UNANSWERED_INTERVALS * self.heartbeat_interval_s(chat_pb2.ACTIVITY_FOREGROUND)

    def is_dead(self) -> bool:
        """Return True if the server has not answered a heartbeat in time, nor sent another frame."""
        return self.silent_for_s > self.answer_timeout_s

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
