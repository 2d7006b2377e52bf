"""The output streams of the command, which end it quietly once nobody reads them any more."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# The exit code that a shell reports for a program that SIGPIPE ended, as it ends most tools.
READER_GONE = 128 + 13


class _Pipe(io.FileIO):
    """A file whose reader may leave: a write then exits instead of raising BrokenPipeError."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            _discard_output(self.fileno())
            raise SystemExit(READER_GONE) from None


@contextmanager
def quiet_output() -> Iterator[None]:
    """Exit with READER_GONE, without a message, once the reader of stdout or stderr has left.

    SIGPIPE itself would end the process without storing the state of the device, and sockets raise it too. The streams
    are flushed here, because an error of the flush at the end of the interpreter cannot be caught.
    """
    sys.stdout, sys.stderr = _wrap(sys.stdout), _wrap(sys.stderr)
    try:
        yield
    finally:
        _flush(sys.stdout)
        _flush(sys.stderr)


def _wrap(stream: TextIO) -> TextIO:
    """Return `stream` with a reader that may leave; a terminal, or a closed stream, stays as it is."""
    if not isinstance(stream, io.TextIOWrapper) or stream.isatty():
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Pipe(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _flush(stream: TextIO | None) -> None:
    if stream is None:
        return  # it was closed when the command was started
    try:
        stream.flush()
    except OSError as error:
        _discard_output(stream.fileno())
        sys.exit(f"The output could not be written: {error.strerror}.")


def _discard_output(descriptor: int) -> None:
    """Let what is still buffered, and written when the interpreter ends, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
