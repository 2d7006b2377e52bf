"""A browser by hand: grpc-web over HTTP/1.1, each call on a connection of its own, and the stream read as it comes."""

from __future__ import annotations

import asyncio
import base64
import ssl
import struct
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status

from parley.chat.v1 import chat_pb2
from tests.raw.calls import METHODS
from tests.raw.refusal import Refusal, of_status
from tests.raw.stream import FRAME_TIMEOUT_S

TRAILERS = 0x80
LONGEST_LINE = 64 * 1024


class Browser:
    """One tab: unary calls, and one `Subscribe` stream whose frames are filed by kind; over TLS with a context."""

    def __init__(self, door: str, token: str, tls: ssl.SSLContext | None = None) -> None:
        self.token = token
        self.kinds: list[str] = []
        self.status: dict[str, str] = {}
        self._door = door
        self._tls = tls
        self._waiting: dict[str, deque[Any]] = defaultdict(deque)
        self._news = asyncio.Condition()
        self._reading: asyncio.Task[None] | None = None

    async def ask(self, request: Message, *, at: str = "") -> Any:
        """The answer to a unary call, brought to the server `at` if one is named. Raises AssertionError."""
        messages, status = await self._call(request, at)
        assert status.get("grpc-status") == "0", status
        return GetMessageClass(METHODS[request.DESCRIPTOR.full_name].output_type).FromString(messages[0])

    async def refusal(self, request: Message, *, at: str = "") -> Refusal:
        """Return the refusal of a unary call. Raises AssertionError if it succeeds."""
        _, status = await self._call(request, at)
        details = status["grpc-status-details-bin"]
        return of_status(Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4))))

    async def subscribe(self, hello: chat_pb2.Hello | None = None, *, at: str = "") -> chat_pb2.Welcome:
        """Open the stream; its `welcome`."""
        request = chat_pb2.SubscribeRequest(hello=hello or chat_pb2.Hello())
        self._reading = asyncio.create_task(self._subscribed(request, at))
        welcome: chat_pb2.Welcome = await self.next("welcome")
        return welcome

    async def next(self, kind: str, timeout: float = FRAME_TIMEOUT_S) -> Any:
        """The next frame of a kind that was not yet asked for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout), self._news:
                await self._news.wait_for(lambda: self._waiting[kind] or self.status)
        assert self._waiting[kind], f"no {kind} came; there were {self.kinds[-20:]}, and the end was {self.status}"
        return self._waiting[kind].popleft()

    async def close(self) -> None:
        """Close the tab."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _call(self, request: Message, at: str) -> tuple[list[bytes], dict[str, str]]:
        messages, status = list[bytes](), dict[str, str]()
        async for flag, data in self._frames(request, at):
            if flag & TRAILERS:
                status = _trailers(data)
            else:
                messages.append(data)
        return messages, status

    async def _subscribed(self, request: Message, at: str) -> None:
        async for flag, data in self._frames(request, at):
            async with self._news:
                if flag & TRAILERS:
                    self.status = _trailers(data)
                else:
                    frame = chat_pb2.SubscribeResponse.FromString(data)
                    kind = frame.WhichOneof("frame")
                    assert kind is not None
                    self.kinds.append(kind)
                    self._waiting[kind].append(getattr(frame, kind))
                self._news.notify_all()

    async def _frames(self, request: Message, at: str) -> AsyncIterator[tuple[int, bytes]]:
        """The grpc-web frames of an answer as they come: (flag, bytes)."""
        host, port = self._door.split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=LONGEST_LINE, ssl=self._tls)
        try:
            writer.write(self._request(request, at))
            headers = await _headers(reader)
            if "grpc-status" in headers:
                # Refused before anything was said: the status stands in the headers.
                yield TRAILERS, "\r\n".join(f"{name}:{value}" for name, value in headers.items()).encode()
                return
            assert headers["content-type"].startswith("application/grpc-web"), headers
            waiting = b""
            async for chunk in _body(reader, headers):
                waiting += chunk
                while len(waiting) >= 5 and len(waiting) >= 5 + struct.unpack(">I", waiting[1:5])[0]:
                    end = 5 + struct.unpack(">I", waiting[1:5])[0]
                    yield waiting[0], waiting[5:end]
                    waiting = waiting[end:]
        finally:
            writer.close()

    def _request(self, request: Message, at: str) -> bytes:
        method = METHODS[request.DESCRIPTOR.full_name]
        data = request.SerializeToString()
        body = b"\x00" + struct.pack(">I", len(data)) + data
        lines = [
            f"POST /{method.containing_service.full_name}/{method.name} HTTP/1.1",
            f"host: {self._door}",
            "content-type: application/grpc-web+proto",
            "accept: application/grpc-web+proto",
            "x-grpc-web: 1",
            f"authorization: Bearer {self.token}",
            f"content-length: {len(body)}",
            *([f"x-chat-server: {at}"] if at else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


async def _headers(reader: asyncio.StreamReader) -> dict[str, str]:
    status = (await reader.readline()).decode()
    assert " 200 " in status, status
    headers = {}
    while (line := (await reader.readline()).decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return headers


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    if "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
        return
    while (size := int(await reader.readline(), 16)) > 0:
        yield await reader.readexactly(size)
        await reader.readline()


def _trailers(data: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in data.decode().split("\r\n") if line)
    return {name.strip().lower(): value.strip() for name, _, value in lines}
