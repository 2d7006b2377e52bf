"""A minimal HTTP/2 client for one gRPC stream per connection, at a tenth of the CPU cost of gRPC's own client.

It does not parse response headers, so the end of a stream carries no status; Envoy's log of failed calls has it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Final, cast

Frame = tuple[int, int, int, bytes]
"""The type, flags, stream id and payload of an HTTP/2 frame."""

HEADER_BYTES: Final = 9
PREFIX_BYTES: Final = 5
STREAM: Final = 1
MAX_FRAME_BYTES: Final = 16_384
DEFAULT_WINDOW: Final = 65_535
MAX_WINDOW: Final = 2**31 - 1

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x8
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
INITIAL_WINDOW_SIZE: Final = 4

_WORD = Struct(">I")
_SETTING = Struct(">HI")


def encode_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return an encoded HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + _WORD.pack(stream) + payload


def connection_preface(path: str, authority: str, metadata: dict[str, str]) -> bytes:
    """Return the first bytes of a client: the preface, settings with the largest windows, and the stream's headers."""
    settings = _SETTING.pack(INITIAL_WINDOW_SIZE, MAX_WINDOW)
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
        **metadata,
    }
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + encode_frame(SETTINGS, 0, 0, settings)
        + encode_frame(WINDOW_UPDATE, 0, 0, _WORD.pack(MAX_WINDOW - DEFAULT_WINDOW))
        + encode_frame(HEADERS, END_HEADERS, STREAM, b"".join(_encode_header(*header) for header in headers.items()))
    )


def _encode_header(name: str, value: str) -> bytes:
    """Return a header in HPACK: a literal without indexing."""
    return b"\0" + b"".join(_encode_length(len(text)) + text.encode() for text in (name, value))


def _encode_length(number: int) -> bytes:
    """Return an HPACK integer with a 7-bit prefix."""
    if number < 0x7F:
        return bytes((number,))
    number -= 0x7F
    octets = bytearray((0x7F,))
    while number >= 0x80:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*octets, number))


class FrameParser:
    """A parser that splits received bytes into HTTP/2 frames."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Add received bytes and return the frames that are complete."""
        data, start, frames = self._buffer + data, 0, list[Frame]()
        while len(data) - start >= HEADER_BYTES:
            begin = start + HEADER_BYTES
            end = begin + int.from_bytes(data[start : start + 3], "big")
            if len(data) < end:
                break
            stream = _WORD.unpack_from(data, start + 5)[0]
            frames.append((data[start + 3], data[start + 4], stream, data[begin:end]))
            start = end
        self._buffer = data[start:]
        return frames


class MessageParser:
    """A parser that splits the data of a stream into gRPC messages, which may span several frames."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Add data of the stream and return the messages that are complete."""
        data, start, messages = self._buffer + data, 0, list[bytes]()
        while len(data) - start >= PREFIX_BYTES:
            begin = start + PREFIX_BYTES
            end = begin + _WORD.unpack_from(data, start + 1)[0]
            if len(data) < end:
                break
            messages.append(data[begin:end])
            start = end
        self._buffer = data[start:]
        return messages


class Http2Stream(asyncio.Protocol):
    """A connection with one stream. `on_message` is called for every message, `on_end` once with the reason."""

    def __init__(self, preface: bytes, on_message: Callable[[bytes], None], on_end: Callable[[str], None]) -> None:
        self._preface = preface
        self._on_message = on_message
        self._on_end = on_end
        self._frames = FrameParser()
        self._messages = MessageParser()
        self._transport: asyncio.Transport | None = None
        self._windows = [DEFAULT_WINDOW, DEFAULT_WINDOW]
        self._initial_window = DEFAULT_WINDOW
        self._pending: deque[bytes] = deque()
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface and the headers."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._preface)

    def data_received(self, data: bytes) -> None:
        """Pass messages to `on_message`, and handle the other frames of HTTP/2."""
        for kind, flags, stream, payload in self._frames.feed(data):
            if kind == DATA:
                self._receive_data(flags, payload)
            elif kind == WINDOW_UPDATE:
                self._windows[stream] += _WORD.unpack(payload)[0]
                self._write_pending()
            elif kind == SETTINGS and not flags & ACK:
                self._apply_settings(payload)
            elif kind == PING and not flags & ACK:
                self._write(encode_frame(PING, ACK, 0, payload))
            elif kind in (RST_STREAM, GOAWAY) or (kind == HEADERS and flags & END_STREAM):
                self._finish("the server ended the stream")

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end of the stream."""
        self._finish(f"the connection broke: {exc or 'closed by the server'}")

    def send(self, message: bytes) -> None:
        """Send a message of at most MAX_FRAME_BYTES with its prefix, once the server's flow control allows it."""
        self._pending.append(b"\0" + _WORD.pack(len(message)) + message)
        self._write_pending()

    def close(self) -> None:
        """Abort the connection; `on_end` is not called."""
        self._ended = True
        if self._transport is not None:
            self._transport.abort()

    def _receive_data(self, flags: int, payload: bytes) -> None:
        if flags & PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        for message in self._messages.feed(payload):
            self._on_message(message)
        if flags & END_STREAM:
            self._finish("the server ended the stream")

    def _apply_settings(self, payload: bytes) -> None:
        for name, value in _SETTING.iter_unpack(payload):
            if name == INITIAL_WINDOW_SIZE:
                self._windows[STREAM] += value - self._initial_window
                self._initial_window = value
        self._write(encode_frame(SETTINGS, ACK, 0))
        self._write_pending()

    def _write_pending(self) -> None:
        while self._pending and len(self._pending[0]) <= min(self._windows):
            payload = self._pending.popleft()
            assert len(payload) <= MAX_FRAME_BYTES, "messages of the load fit into one frame"
            self._windows = [window - len(payload) for window in self._windows]
            self._write(encode_frame(DATA, 0, STREAM, payload))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _finish(self, reason: str) -> None:
        if not self._ended:
            self._ended = True
            self._on_end(reason)
