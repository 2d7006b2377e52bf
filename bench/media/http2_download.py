"""A download by one gRPC call over a connection of its own, at a fraction of the CPU cost of gRPC's own client."""

from __future__ import annotations

import socket
from struct import Struct
from typing import Final

from bench.load.http2_stream import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    STREAM,
    FrameParser,
    connection_preface,
    encode_frame,
)
from devstack.errors import SetupError

TIMEOUT_S: Final = 60.0
_READ_BYTES: Final = 256 * 1024
_PREFIX = Struct(">BI")


def download(door: str, path: str, metadata: dict[str, str], request: bytes) -> int:
    """Return the bytes of all messages of a call with their prefixes. Raise SetupError if it does not end normally.

    The status is not read: the message of a failed call has hardly any bytes.
    """
    host, _, port = door.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), TIMEOUT_S) as connection:
            message = _PREFIX.pack(0, len(request)) + request
            preface = connection_preface(path, door, metadata)
            connection.sendall(preface + encode_frame(DATA, END_STREAM, STREAM, message))
            return _receive_stream(connection)
    except OSError as error:
        raise SetupError(f"A download of the benchmark failed: {error}.") from None


def _receive_stream(connection: socket.socket) -> int:
    parser, received = FrameParser(), 0
    while data := connection.recv(_READ_BYTES):
        for kind, flags, _, payload in parser.feed(data):
            if kind == DATA:
                received += len(payload)
            elif kind == HEADERS and flags & END_STREAM:
                return received
            elif kind in (SETTINGS, PING) and not flags & ACK:
                connection.sendall(encode_frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind in (RST_STREAM, GOAWAY):
                raise SetupError("Envoy ended a download of the benchmark.")
    raise SetupError("Envoy closed the connection of a download of the benchmark.")
