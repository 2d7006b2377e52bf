"""The ids of what is being handled while a line is logged: the call or frame, its user, and its trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

from google.protobuf.message import Message
from structlog.contextvars import bind_contextvars
from structlog.typing import EventDict

from servicekit import tracing
from servicekit.auth import Claims

# A client may write anything into an id until the id is checked.
MAX_ID_CHARS: Final = 64

_handled: ContextVar[Message | None] = ContextVar("handled", default=None)


def bind_caller(claims: Claims) -> None:
    """Let the lines that are logged in the present task, and in tasks that it starts, carry the user and device."""
    bind_contextvars(user_id=claims.user_id, device_id=claims.device_id)


def bind_request(message: Message) -> None:
    """Let the lines that are logged in the present task from now on carry the ids in the request that it serves.

    The ids are read when a line is logged: for a request that is handled without one this costs next to nothing.
    """
    _handled.set(message)


class Handling:
    """A `with` block that handles a frame: its lines, and those of tasks that it starts, carry the ids in the frame."""

    __slots__ = ("_frame", "_token")

    def __init__(self, frame: Message) -> None:
        self._frame = frame

    def __enter__(self) -> None:
        self._token = _handled.set(self._frame)

    def __exit__(self, *_: object) -> None:
        _handled.reset(self._token)


def add_context(_: object, __: str, event: EventDict) -> EventDict:
    """Add the trace and the ids, where the line has no such field of its own."""
    trace_id = tracing.current_trace_id()
    if (handled := _handled.get()) is not None:
        for name, value in _ids_of(handled):
            if name == "traceparent":
                trace_id = trace_id or tracing.trace_id_of(value)
            else:
                event.setdefault(name, value[:MAX_ID_CHARS])
    if trace_id:
        event.setdefault("trace_id", trace_id)
    return event


def _ids_of(message: Message) -> Iterator[tuple[str, str]]:
    """Yield the ids in a message and in the frame that it holds, by field name, and its traceparent."""
    for field, value in message.ListFields():
        if isinstance(value, str) and (field.name.endswith("_id") or field.name == "traceparent"):
            yield field.name, value
        elif field.containing_oneof is not None and isinstance(value, Message):
            yield from _ids_of(value)
