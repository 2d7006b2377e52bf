"""Readers and rewriters of file formats without I/O: generators that request ranges of bytes.

A parser yields the ranges that it needs, is sent their bytes, and returns its result. So one parser serves a file in
memory and one in a store, of any size, and reads nothing but what it needs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A range of a file: `length` bytes from `offset`. A range beyond the end is answered with fewer bytes."""

    offset: int
    length: int


Parser: TypeAlias = Generator[ByteRange, bytes, Result]

Segment: TypeAlias = ByteRange | bytes
"""A part of a rewritten file: a range that is copied from the original, or new bytes."""


async def parse_ranges(parser: Parser[Result], read: Callable[[ByteRange], Awaitable[bytes]]) -> Result:
    """Run a parser on a file of which `read` returns ranges."""
    try:
        wanted = next(parser)
        while True:
            wanted = parser.send(await read(wanted))
    except StopIteration as stop:
        result: Result = stop.value
        return result


def segments_size(segments: list[Segment]) -> int:
    """Return the size in bytes of the file that consists of these segments."""
    return sum(segment.length if isinstance(segment, ByteRange) else len(segment) for segment in segments)


async def read_segments(
    segments: list[Segment], read: Callable[[ByteRange], AsyncGenerator[bytes, None]]
) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of the file that consists of these segments; `read` yields the bytes of a range."""
    for segment in segments:
        if isinstance(segment, bytes):
            yield segment
        else:
            async for chunk in read(segment):
                yield chunk
