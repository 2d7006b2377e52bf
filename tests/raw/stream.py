"""One `Connect` stream as bytes on the wire: frames as they come, filed by kind, and how the stream ended."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc

from parley.chat.v1 import chat_pb2
from tests.raw.refusal import Refusal, of_error, of_status

CONNECT = "/parley.chat.v1.ChatService/Connect"
FRAME_TIMEOUT_S = 10.0
"""Timeout in seconds for an expected frame, long enough for a busy machine."""

Metadata = tuple[tuple[str, str], ...]


class StreamEnded(Exception):
    """The stream ended before a frame could be written."""


class RawStream:
    """A raw stream that sends no frame by itself, not even `hello`. `heard` is called with every frame."""

    def __init__(
        self, channel: grpc.aio.Channel, metadata: Metadata, heard: Callable[[chat_pb2.ConnectResponse], None]
    ) -> None:
        self._call: Any = channel.stream_stream(CONNECT)(metadata=metadata)
        self._heard = heard
        self._waiting: dict[str, deque[Any]] = defaultdict(deque)
        self._news = asyncio.Condition()
        self._writing = asyncio.Lock()
        self._end: Refusal | None = None
        # Cleared: what comes is left unread.
        self.reads = asyncio.Event()
        self.reads.set()
        self.kinds: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def write(self, data: bytes) -> None:
        """Send arbitrary bytes as a frame. Raises StreamEnded."""
        # gRPC takes one frame at a time.
        async with self._writing:
            try:
                await self._call.write(data)
            except (asyncio.InvalidStateError, grpc.aio.AioRpcError) as error:
                raise StreamEnded from error

    async def send_frame(self, **frame: Any) -> None:
        """Send a well-formed frame, such as `hello=Hello()`."""
        await self.write(chat_pb2.ConnectRequest(**frame).SerializeToString())

    async def half_close(self) -> None:
        """Half-close the stream."""
        await self._call.done_writing()

    async def next_frame(self, kind: str, timeout: float = FRAME_TIMEOUT_S) -> Any:
        """Return the next unread frame of a kind. Raises AssertionError on timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout), self._news:
                await self._news.wait_for(lambda: self._waiting[kind] or self._end)
        if not self._waiting[kind]:
            raise AssertionError(f"no {kind} came; there were {self.kinds[-20:]}, and the end was {self._end}")
        return self._waiting[kind].popleft()

    async def refusal(self) -> Refusal:
        """Return the refusal of the next `error` frame, which must not be final."""
        error: chat_pb2.StreamError = await self.next_frame("error")
        assert not error.final
        return of_status(error.status)

    async def final_error(self, timeout: float = FRAME_TIMEOUT_S) -> Refusal:
        """Return the refusal of the final `error` frame."""
        error: chat_pb2.StreamError = await self.next_frame("error", timeout)
        assert error.final
        return of_status(error.status)

    async def wait_ended(self, timeout: float = FRAME_TIMEOUT_S) -> Refusal:
        """Wait for the end of the stream and return its status, also `OK`. Raises AssertionError on timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout), self._news:
                await self._news.wait_for(lambda: self._end)
        assert self._end, f"the stream has not ended; there were {self.kinds[-20:]}"
        return self._end

    @property
    def open(self) -> bool:
        """Return true if no end of the stream was received."""
        return self._end is None

    async def close(self) -> None:
        """Cancel the stream."""
        self.reads.set()
        self._call.cancel()
        # If the server ends the stream at this moment, gRPC cancels the read and says that the call was not cancelled.
        await asyncio.wait([self._reading])
        if not self._reading.cancelled():
            self._reading.result()

    async def _read(self) -> None:
        try:
            while (data := await self._call.read()) is not grpc.aio.EOF:
                await self._store_frame(chat_pb2.ConnectResponse.FromString(data))
                await self.reads.wait()
            end = Refusal((await self._call.code()).name)
        except grpc.aio.AioRpcError as error:
            end = of_error(error)
        except asyncio.CancelledError:
            if not self._call.cancelled():
                raise
            end = Refusal("CANCELLED")
        async with self._news:
            self._end = end
            self._news.notify_all()

    async def _store_frame(self, frame: chat_pb2.ConnectResponse) -> None:
        kind = frame.WhichOneof("frame")
        assert kind is not None
        self._heard(frame)
        async with self._news:
            self.kinds.append(kind)
            self._waiting[kind].append(getattr(frame, kind))
            self._news.notify_all()
