"""Parsers run beside the event loop, however long they take between two ranges."""

from __future__ import annotations

import asyncio
import threading

import pytest

from media_service.processing.buffered_reader import Malformed
from media_service.processing.byte_ranges import ByteRange, Parser, parse_ranges

DATA = b"0123456789"


async def read(wanted: ByteRange) -> bytes:
    return DATA[wanted.offset : wanted.offset + wanted.length]


async def test_parser_gets_its_ranges_and_returns_its_result() -> None:
    def parser() -> Parser[bytes]:
        first = yield ByteRange(0, 2)
        second = yield ByteRange(8, 5)
        return first + second

    assert await parse_ranges(parser(), read) == b"0189"


async def test_parser_without_ranges_returns_its_result() -> None:
    def parser() -> Parser[int]:
        yield from ()
        return 7

    assert await parse_ranges(parser(), read) == 7


async def test_error_of_a_parser_is_raised() -> None:
    def parser() -> Parser[None]:
        yield ByteRange(0, 1)
        raise Malformed("not well-formed")

    with pytest.raises(Malformed, match="not well-formed"):
        await parse_ranges(parser(), read)


async def test_slow_parser_does_not_hold_the_event_loop() -> None:
    """The parser waits until the event loop has run meanwhile."""
    ran = threading.Event()

    def parser() -> Parser[bool]:
        yield ByteRange(0, 1)
        return ran.wait(5)

    asyncio.get_running_loop().call_later(0.05, ran.set)
    assert await parse_ranges(parser(), read)
