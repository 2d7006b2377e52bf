"""Exact reads for parsers, through a buffer of one block, and the error of a file that is not well-formed."""

from __future__ import annotations

import re
from typing import Final

from media_service.processing.byte_ranges import ByteRange, Parser

BLOCK_BYTES: Final = 256 * 1024
"""The size of the ranges that a parser requests, in bytes."""

MAX_READS: Final = 4_000_000
"""The reads of one parser, mostly from its buffer: what bounds the time that a file of many tiny parts takes."""


class Malformed(ValueError):
    """The bytes are not a well-formed file of the type that they were announced as."""


class BufferedReader:
    """Reads of a file of `size_bytes` through a buffer of one block of `block_bytes`.

    Every coroutine is a parser: it is called with `yield from`. Raise Malformed if the file ends early, or after
    `max_reads` reads.
    """

    def __init__(self, size_bytes: int, block_bytes: int = BLOCK_BYTES, max_reads: int = MAX_READS) -> None:
        self.size_bytes = size_bytes
        self._block_bytes = block_bytes
        self._reads_left = max_reads
        self._block = b""
        self._start = 0

    def read(self, offset: int, length: int) -> Parser[bytes]:
        """Return exactly `length` bytes from `offset`."""
        yield from self._fill(offset, length)
        start = offset - self._start
        return self._block[start : start + length]

    def read_block(self, offset: int, end: int) -> Parser[bytes]:
        """Return the bytes from `offset` up to `end`, at most one block of them: the step of a loop over a range."""
        return (yield from self.read(offset, min(end - offset, self._block_bytes)))

    def find(self, pattern: re.Pattern[bytes], width: int, offset: int) -> Parser[int]:
        """Return the offset of the first match of a pattern of `width` bytes; the size of the file if none matches."""
        while offset + width <= self.size_bytes:
            yield from self._fill(offset, width)
            if (found := pattern.search(self._block, offset - self._start)) is not None:
                return self._start + found.start()
            offset = self._start + len(self._block) - (width - 1)
        return self.size_bytes

    def _fill(self, offset: int, length: int) -> Parser[None]:
        """Make the buffer contain the range."""
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise Malformed("the file ends within one of its parts")
        self._reads_left -= 1
        if self._reads_left < 0:
            raise Malformed("the file has too many parts")
        start = offset - self._start
        if start >= 0 and start + length <= len(self._block):
            return
        self._block = b""
        wanted = min(max(length, self._block_bytes), self.size_bytes - offset)
        self._block, self._start = (yield ByteRange(offset, wanted)), offset
        if len(self._block) < length:
            raise Malformed("the file is shorter than announced")
