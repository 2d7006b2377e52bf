"""The parsers of files, run on files in memory."""

from __future__ import annotations

from media_service.processing.byte_ranges import Parser, Result


def parse_bytes(parser: Parser[Result], data: bytes) -> Result:
    """Run a parser on a file in memory."""
    try:
        wanted = next(parser)
        while True:
            wanted = parser.send(data[wanted.offset : wanted.offset + wanted.length])
    except StopIteration as stop:
        result: Result = stop.value
        return result
