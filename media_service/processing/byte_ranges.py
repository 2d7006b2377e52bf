"""Readers and rewriters of file formats without I/O: generators that request ranges of bytes.

A parser yields the ranges that it needs, is sent their bytes, and returns its result. So one parser serves a file in
memory and one in a store, of any size, and reads nothing but what it needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

Result = TypeVar("Result")

# Threads of their own, so that slow files do not keep those of the event loop. They share one core.
PARSER_THREADS: Final = 2
_threads: Final = ThreadPoolExecutor(PARSER_THREADS, thread_name_prefix="parser")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A range of a file: `length` bytes from `offset`. A range beyond the end is answered with fewer bytes."""

    offset: int
    length: int


Parser: TypeAlias = Generator[ByteRange, bytes, Result]

Segment: TypeAlias = ByteRange | bytes
"""A part of a rewritten file: a range that is copied from the original, or new bytes."""


@dataclass(frozen=True, slots=True)
class _Finished(Generic[Result]):
    """The end of a parser."""

    result: Result


async def parse_ranges(parser: Parser[Result], read: Callable[[ByteRange], Awaitable[bytes]]) -> Result:
    """Run a parser on a file of which `read` returns ranges.

    It runs in a thread: between two ranges, a file of many tiny parts takes it more than a second.
    """
    loop = asyncio.get_running_loop()
    step = await loop.run_in_executor(_threads, _advance, parser, None)
    while isinstance(step, ByteRange):
        step = await loop.run_in_executor(_threads, _advance, parser, await read(step))
    return step.result


def _advance(parser: Parser[Result], data: bytes | None) -> ByteRange | _Finished[Result]:
    try:
        return next(parser) if data is None else parser.send(data)
    except StopIteration as stop:
        return _Finished(stop.value)


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
