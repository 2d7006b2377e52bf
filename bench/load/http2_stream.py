"""Just enough HTTP/2 for one gRPC stream on a connection: a tenth of what gRPC's own client costs this machine.

The headers that come back are not read: a stream that ends says only that it ended, and the door's log of failed
calls says why.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Final, cast

Frame = tuple[int, int, int, bytes]
"""The type, the flags and the stream id of an HTTP/2 frame, and what it carries."""

HEADER_BYTES: Final = 9
PREFIX_BYTES: Final = 5
STREAM: Final = 1
MOST_FRAME_BYTES: Final = 16_384
FIRST_WINDOW: Final = 65_535
LARGEST_WINDOW: Final = 2**31 - 1

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x8
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
INITIAL_WINDOW_SIZE: Final = 4

_WORD = Struct(">I")
_SETTING = Struct(">HI")


def packed(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as it goes over the wire."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + _WORD.pack(stream) + payload


def greeting(path: str, authority: str, metadata: dict[str, str]) -> bytes:
    """What a client begins with: it takes whatever comes, and opens one stream."""
    settings = _SETTING.pack(INITIAL_WINDOW_SIZE, LARGEST_WINDOW)
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
        + packed(SETTINGS, 0, 0, settings)
        + packed(WINDOW_UPDATE, 0, 0, _WORD.pack(LARGEST_WINDOW - FIRST_WINDOW))
        + packed(HEADERS, END_HEADERS, STREAM, b"".join(_literal(*each) for each in headers.items()))
    )


def _literal(name: str, value: str) -> bytes:
    """A header in HPACK, in full and remembered by nobody."""
    return b"\0" + b"".join(_length(len(text)) + text.encode() for text in (name, value))


def _length(number: int) -> bytes:
    if number < 0x7F:
        return bytes((number,))
    number -= 0x7F
    octets = bytearray((0x7F,))
    while number >= 0x80:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*octets, number))


class Frames:
    """Cuts what arrives into HTTP/2 frames."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> list[Frame]:
        """The frames that are complete now."""
        data, start, frames = self._rest + data, 0, list[Frame]()
        while len(data) - start >= HEADER_BYTES:
            begin = start + HEADER_BYTES
            end = begin + int.from_bytes(data[start : start + 3], "big")
            if len(data) < end:
                break
            stream = _WORD.unpack_from(data, start + 5)[0]
            frames.append((data[start + 3], data[start + 4], stream, data[begin:end]))
            start = end
        self._rest = data[start:]
        return frames


class Messages:
    """Cuts the bytes of a stream into gRPC messages, which may be cut anywhere themselves."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> list[bytes]:
        """The messages that are complete now."""
        data, start, messages = self._rest + data, 0, list[bytes]()
        while len(data) - start >= PREFIX_BYTES:
            begin = start + PREFIX_BYTES
            end = begin + _WORD.unpack_from(data, start + 1)[0]
            if len(data) < end:
                break
            messages.append(data[begin:end])
            start = end
        self._rest = data[start:]
        return messages


class Wire(asyncio.Protocol):
    """One connection with one stream. `heard` gets every message, `over` is called with why once it has ended."""

    def __init__(self, opening: bytes, heard: Callable[[bytes], None], over: Callable[[str], None]) -> None:
        self._opening = opening
        self._heard = heard
        self._over = over
        self._frames = Frames()
        self._messages = Messages()
        self._transport: asyncio.Transport | None = None
        self._windows = [FIRST_WINDOW, FIRST_WINDOW]
        self._initial_window = FIRST_WINDOW
        self._waiting: deque[bytes] = deque()
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who calls, and what."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._opening)

    def data_received(self, data: bytes) -> None:
        """Messages to `heard`; the rest of HTTP/2 is answered here."""
        for kind, flags, stream, payload in self._frames.cut(data):
            if kind == DATA:
                self._take(flags, payload)
            elif kind == WINDOW_UPDATE:
                self._windows[stream] += _WORD.unpack(payload)[0]
                self._write_waiting()
            elif kind == SETTINGS and not flags & ACK:
                self._settle(payload)
            elif kind == PING and not flags & ACK:
                self._write(packed(PING, ACK, 0, payload))
            elif kind in (RST_STREAM, GOAWAY) or (kind == HEADERS and flags & END_STREAM):
                self._end("the server ended the stream")

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, with a reason or without."""
        self._end(f"the connection broke: {exc or 'closed by the server'}")

    def send(self, message: bytes) -> None:
        """Send a message of a few KiB at most, as soon as the server has room for it."""
        self._waiting.append(b"\0" + _WORD.pack(len(message)) + message)
        self._write_waiting()

    def close(self) -> None:
        """Go away without a word, and hear no more."""
        self._ended = True
        if self._transport is not None:
            self._transport.abort()

    def _take(self, flags: int, payload: bytes) -> None:
        if flags & PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        for message in self._messages.cut(payload):
            self._heard(message)
        if flags & END_STREAM:
            self._end("the server ended the stream")

    def _settle(self, payload: bytes) -> None:
        for name, value in _SETTING.iter_unpack(payload):
            if name == INITIAL_WINDOW_SIZE:
                self._windows[STREAM] += value - self._initial_window
                self._initial_window = value
        self._write(packed(SETTINGS, ACK, 0))
        self._write_waiting()

    def _write_waiting(self) -> None:
        while self._waiting and len(self._waiting[0]) <= min(self._windows):
            payload = self._waiting.popleft()
            assert len(payload) <= MOST_FRAME_BYTES, "a message of the load is small"
            self._windows = [window - len(payload) for window in self._windows]
            self._write(packed(DATA, 0, STREAM, payload))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _end(self, why: str) -> None:
        if not self._ended:
            self._ended = True
            self._over(why)
