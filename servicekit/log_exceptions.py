"""Exceptions in log lines: their types and where they were raised, and no message that may hold content of users."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any, Final

import grpc
import structlog
from structlog.typing import EventDict

from servicekit.failure import Failure

MAX_FRAMES: Final = 50
MAX_CHAIN: Final = 8
NOT_LOGGED: Final = "(the message is not logged: it may hold content)"
# Their messages name code alone.
CODE_ERRORS: Final = (AttributeError, NameError, ImportError, RecursionError, MemoryError, NotImplementedError)

_log = structlog.get_logger("service")


def describe_exceptions(_: object, __: str, event: EventDict) -> EventDict:
    """Replace the exception of a line by its description: a list of objects, each caused by the next one."""
    if (error := _take_exception(event)) is not None:
        event["exception"] = list(_describe_chain(error))
    return event


def format_exceptions(_: object, __: str, event: EventDict) -> EventDict:
    """Replace the exception of a line by a text for people."""
    if (error := _take_exception(event)) is not None:
        event["exception"] = format_exception(error)
    return event


def format_exception(error: BaseException) -> str:
    """Return the description of an exception as lines for people."""
    return "\n".join(line for each in _describe_chain(error) for line in _lines_of(each, ""))


def message_of(error: BaseException) -> str:
    """Return the message of an exception if it is one of ours, of the system or of the code; else NOT_LOGGED."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code().name
    if isinstance(error, OSError):
        return error.strerror or ""
    if isinstance(error, (Failure, *CODE_ERRORS)) or not error.args:
        return str(error)
    return error.message if isinstance(error, BaseExceptionGroup) else NOT_LOGGED


def is_ours_or_warning(record: logging.LogRecord) -> bool:
    """Return True for a line of Parley, or of a library from level warning on: below they log what they handle."""
    return isinstance(record.msg, dict) or record.levelno >= logging.WARNING


def log_unhandled_exceptions(loop: asyncio.AbstractEventLoop) -> None:
    """Log the exceptions that no task of `loop` handles. asyncio's own line has the message of the exception."""
    loop.set_exception_handler(_log_loop_error)
    sys.excepthook = lambda _, error, __: _log.error("process failed", exc_info=error)


def _log_loop_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    task = context.get("task") or context.get("future")
    name = task.get_name() if isinstance(task, asyncio.Task) else ""
    if (error := context.get("exception")) is None:
        _log.error("task ended before it was done", task=name)
    else:
        _log.error("task or callback failed", task=name, exc_info=error)


def _take_exception(event: EventDict) -> BaseException | None:
    found: object = event.pop("exc_info", None)
    if isinstance(found, tuple):
        found = found[1]
    elif found and not isinstance(found, BaseException):
        found = sys.exc_info()[1]
    return found if isinstance(found, BaseException) else None


def _describe_chain(error: BaseException) -> Iterator[dict[str, Any]]:
    """Yield the description of an exception, and of those that caused it; at most MAX_CHAIN."""
    current: BaseException | None = error
    for _ in range(MAX_CHAIN):
        if current is None:
            return
        yield _describe(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _describe(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    described: dict[str, Any] = {
        "exc_type": type(error).__name__,
        "exc_value": message_of(error),
        "frames": [{"filename": each.filename, "lineno": each.lineno, "name": each.name} for each in frames],
    }
    if isinstance(error, BaseExceptionGroup):
        described["exceptions"] = [list(_describe_chain(each)) for each in error.exceptions[:MAX_CHAIN]]
    return described


def _lines_of(described: dict[str, Any], indent: str) -> Iterator[str]:
    yield f"{indent}{described['exc_type']}: {described['exc_value']}"
    for frame in described["frames"]:
        yield f"{indent}  at {frame['filename']}:{frame['lineno']} in {frame['name']}"
    for chain in described.get("exceptions", ()):
        for each in chain:
            yield from _lines_of(each, f"{indent}    ")
