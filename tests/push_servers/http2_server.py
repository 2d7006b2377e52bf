"""A server of HTTP/2 over TLS, on the library h2, that can also fail in the ways in which servers fail."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings


@dataclass(frozen=True)
class Request:
    """A request: `headers` without those that begin with a colon; `connection` counts the connections from 1."""

    method: str
    path: str
    headers: dict[str, str]
    header_names: tuple[str, ...]
    body: bytes
    connection: int

    def document(self) -> dict[str, Any]:
        """Return the JSON object of the body."""
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document


@dataclass(frozen=True)
class Answer:
    """An answer of the server."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    # True if the body goes on for ever, though no more of it comes.
    endless: bool = False

    @classmethod
    def json(cls, status: int, document: object, **headers: str) -> Answer:
        """Return an answer with a JSON body; underscores in the names of headers stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, json.dumps(document).encode(), {"content-type": "application/json", **named})


class Fault(Enum):
    """A way to fail a request instead of an answer."""

    # The connection is closed without a word.
    CLOSE = "close"
    # GOAWAY that says that this request was not handled, then the end of the connection.
    REFUSE_WITH_GOAWAY = "refuse"
    # GOAWAY that leaves open whether this request was handled, then the end of the connection.
    GOAWAY = "goaway"
    RESET_STREAM = "reset"
    SILENCE = "silence"


Handle = Callable[[Request], Answer]


class Http2Server:
    """Serves `handle` on a free port of localhost. `next_answers` come first: answers, or faults.

    `requests` are those received, in order; `connections` is the number of connections so far. `max_streams` is the
    number of streams that a connection may have at a time; it changes for open connections, too.
    """

    def __init__(self, context: ssl.SSLContext, handle: Handle, *, max_streams: int = 100) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0
        self.open_connections: set[_Connection] = set()
        self.next_answers: deque[Answer | Fault] = deque()
        self.received = asyncio.Event()
        # What a request or a connection did wrong; `async with` raises the first.
        self.failures: list[Exception] = []
        self.max_streams = max_streams
        self._context = context
        self._handle = handle
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "localhost", 0, ssl=self._context)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if error is None and self.failures:
            raise self.failures[0]

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def set_max_streams(self, number: int) -> None:
        """Change the number of streams of all connections."""
        self.max_streams = number
        for connection in self.open_connections:
            connection.announce_max_streams(number)

    def answer(self, request: Request) -> Answer | Fault:
        """Return the answer to a request, and record it."""
        self.requests.append(request)
        self.received.set()
        return self.next_answers.popleft() if self.next_answers else self._handle(request)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        connection = _Connection(self, reader, writer, self.connections)
        self.open_connections.add(connection)
        try:
            await connection.serve()
        except asyncio.CancelledError:
            writer.transport.abort()
        except (AssertionError, LookupError, ValueError, ProtocolError) as error:
            self.failures.append(error)
            writer.transport.abort()
        finally:
            self.open_connections.discard(connection)
            self._tasks.discard(task)
            with suppress(OSError, ssl.SSLError):
                writer.close()


class _Connection:
    """One connection of a client."""

    def __init__(
        self, server: Http2Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._number = number
        self._streams: dict[int, tuple[list[tuple[str, str]], bytearray]] = {}
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        # A setting that is changed before the connection begins would count without being told.
        initial = {SettingCodes.MAX_CONCURRENT_STREAMS: server.max_streams}
        self._h2.local_settings = Settings(client=False, initial_values=initial)
        self._ended = False

    async def serve(self) -> None:
        """Serve requests until the client or a fault ends the connection."""
        tls = self._writer.get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == "h2", "the client does not speak HTTP/2"
        self._h2.initiate_connection()
        await self._flush()
        while not self._ended:
            try:
                data = await self._reader.read(65_536)
            except OSError:
                return
            if not data or self._ended:
                return
            for event in self._h2.receive_data(data):
                self._handle_event(event)
            await self._flush()

    async def close(self, *, goaway: bool) -> None:
        """Close the connection while it is idle, with GOAWAY or without a word."""
        self._ended = True
        if goaway:
            self._h2.close_connection()
            await self._flush()
        self._writer.transport.abort()

    def announce_max_streams(self, number: int) -> None:
        """Send the setting; the client applies it when it reads."""
        self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: number})

    def _handle_event(self, event: Event) -> None:
        match event:
            case RequestReceived(stream_id=int(stream), headers=list(headers)):
                self._streams[stream] = [_decode(*header) for header in headers], bytearray()
            case DataReceived(stream_id=int(stream), data=bytes(data), flow_controlled_length=int(length)):
                self._streams[stream][1].extend(data)
                self._h2.acknowledge_received_data(length, stream)
            case StreamEnded(stream_id=int(stream)):
                request = _request(*self._streams.pop(stream), self._number)
                self._respond(stream, self._server.answer(request))

    def _respond(self, stream: int, answer: Answer | Fault) -> None:
        match answer:
            case Answer():
                headers = [(":status", str(answer.status)), *answer.headers.items()]
                self._h2.send_headers(stream, headers, end_stream=not answer.body)
                self._send_body(stream, answer.body, answer.endless)
            case Fault.RESET_STREAM:
                self._h2.reset_stream(stream)
            case Fault.REFUSE_WITH_GOAWAY:
                self._h2.close_connection(last_stream_id=stream - 2)
                self._ended = True
            case Fault.GOAWAY:
                self._h2.close_connection(last_stream_id=stream)
                self._ended = True
            case Fault.CLOSE:
                self._ended = True
                self._writer.transport.abort()
            case Fault.SILENCE:
                pass

    def _send_body(self, stream: int, body: bytes, endless: bool) -> None:
        while body:
            size = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            assert size > 0, "the body is larger than the window"
            self._h2.send_data(stream, body[:size], end_stream=not endless and len(body) <= size)
            body = body[size:]

    async def _flush(self) -> None:
        with suppress(OSError):
            self._writer.write(self._h2.data_to_send())
            await self._writer.drain()


def _decode(name: str | bytes, value: str | bytes) -> tuple[str, str]:
    return name if isinstance(name, str) else name.decode(), value if isinstance(value, str) else value.decode()


def _request(headers: list[tuple[str, str]], body: bytearray, connection: int) -> Request:
    pseudo = dict(headers)
    named = {name: value for name, value in headers if not name.startswith(":")}
    names = tuple(name for name, _ in headers)
    return Request(pseudo[":method"], pseudo[":path"], named, names, bytes(body), connection)
