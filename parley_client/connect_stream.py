"""One `Connect` stream, from its hello to its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc.aio

from parley.chat.v1 import chat_pb2
from parley_client.calls import bearer
from parley_client.channel import ChatStream, Door, too_late
from parley_client.errors import ParleyError, TryLater, from_rpc, from_status

WELCOME_SECONDS = 5.0
# So many heartbeat intervals without a frame mean that the link is dead.
SILENCE = 2.5


@dataclass(frozen=True, slots=True)
class Drained:
    """The server asked for another stream: after `delay` seconds, at `home`."""

    delay: float
    home: str


@dataclass(frozen=True, slots=True)
class Renewed:
    """The device wants another stream for a reason of its own."""


Parting = Drained | Renewed | ParleyError


class Link:
    """A stream that was welcomed. `parted` is why the next one is needed; `left` that it has taken over."""

    def __init__(self, call: ChatStream, welcome: chat_pb2.Welcome) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._reading_since: float | None = None
        self.welcome = welcome
        self.opened = self.written = self._loop.time()
        self.left = False
        self.over = asyncio.Event()
        self.parted: asyncio.Future[Parting] = self._loop.create_future()

    @classmethod
    async def open(cls, door: Door, token: str, home: str, hello: chat_pb2.Hello) -> Link:
        """Open a stream and be welcomed. Raises ParleyError; TimedOut means that the channel may be dead."""
        call = door.connect(bearer(token, home))
        try:
            async with asyncio.timeout(WELCOME_SECONDS):
                await call.write(chat_pb2.ConnectRequest(hello=hello))
                first = await _read(call)
        except TimeoutError:
            call.cancel()
            raise too_late("hello", WELCOME_SECONDS) from None
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The write failed because the stream is over; its end says why.
            first = await _read(call)
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
    def heartbeat_interval(self) -> float:
        """In seconds."""
        return self.welcome.heartbeat_interval.ToMilliseconds() / 1000 or 5.0

    async def read(self) -> chat_pb2.ConnectResponse | None:
        """The next frame; None: the stream ended well. Raises ParleyError."""
        self._reading_since = self._loop.time()
        try:
            return await _read(self._call)
        finally:
            self._reading_since = None

    async def write(self, frame: chat_pb2.ConnectRequest) -> bool:
        """Write a frame; False: the stream is over, and reading says why."""
        try:
            await self._call.write(frame)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return False
        self.written = self._loop.time()
        return True

    def part(self, why: Parting) -> None:
        """The next stream is needed; the first reason counts."""
        if not self.parted.done():
            self.parted.set_result(why)

    def is_dead(self) -> bool:
        """Whether nothing was heard for too long, while it was listened to."""
        if self._reading_since is None:
            return False
        return self._loop.time() - self._reading_since > SILENCE * self.heartbeat_interval

    async def leave(self) -> None:
        """Say nothing more; what is outstanding can still be read."""
        self.left = True
        if not self._call.done():
            await self._call.done_writing()

    def cancel(self) -> None:
        """End it now."""
        self._call.cancel()


async def _read(call: ChatStream) -> chat_pb2.ConnectResponse | None:
    try:
        frame = await call.read()
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) and task.cancelling():
            raise
        raise TryLater("the stream was given up", code="UNAVAILABLE") from None
    return frame if isinstance(frame, chat_pb2.ConnectResponse) else None
