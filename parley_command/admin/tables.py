"""Tables and values for a terminal, and proto messages as fields of JSON."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from parley_client.cli.text import one_cell

_KIB = 1024


def align(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: columns are aligned, and nothing is cut off, so that ids can be copied."""
    cells = [[one_cell(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def format_seconds(seconds: float) -> str:
    """Return a duration in its two largest units: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 7 min`, `4 d 3 h`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    for unit, size, smaller, divisor in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // divisor} {smaller}"
    return f"{whole} s"


def format_duration(duration: Duration) -> str:
    """Return a duration of the contract, as `format_seconds` does."""
    return format_seconds(duration.ToMilliseconds() / 1000)


def format_age(time_of: Timestamp) -> str:
    """Return the time since a timestamp, by the clock of this machine."""
    return format_seconds(time.time() - time_of.ToMilliseconds() / 1000)


def format_bytes(count: int) -> str:
    """Return a number of bytes: `512 B`, `3.4 KiB`, `1.2 MiB`."""
    if count < _KIB:
        return f"{count} B"
    return f"{count / _KIB:.1f} KiB" if count < _KIB**2 else f"{count / _KIB**2:.1f} MiB"


def to_fields(message: Message) -> dict[str, Any]:
    """Return a message as fields of JSON under their names of the protos, also those with the default value."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
