"""Spans of a device, if the application has configured OpenTelemetry: of a send, and of a message that arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

from parley.chat.v1 import chat_pb2, entry_pb2

if TYPE_CHECKING:
    from opentelemetry.trace import Span

try:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    # Without the package nothing is traced.
    HAS_OPENTELEMETRY = False
else:
    HAS_OPENTELEMETRY = True


Result = TypeVar("Result")


def start_send(request: chat_pb2.SendMessageRequest) -> Span | None:
    """Start the span of a send, a child of the current one, and put its context into the request.

    None if the application does not trace it.
    """
    if not HAS_OPENTELEMETRY:
        return None
    attributes = {
        "messaging.system": "parley",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.id": request.client_message_id,
        "parley.conversation_id": request.conversation_id,
    }
    span = trace.get_tracer("parley_client").start_span(
        "device send", kind=trace.SpanKind.PRODUCER, attributes=attributes
    )
    if not span.is_recording():
        return None
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(span))
    request.traceparent = carrier["traceparent"]
    return span


def end_send(span: Span, result: asyncio.Future[Result]) -> None:
    """End the span of a send with its result."""
    if result.cancelled():
        span.end()
    else:
        _end(span, result.exception())


async def await_in_span(span: Span | None, call: Awaitable[Result]) -> Result:
    """Return the result of a send as a unary call, and end its span. Raises its error."""
    try:
        result = await call
    except BaseException as error:
        if span is not None:
            _end(span, error)
        raise
    if span is not None:
        span.end()
    return result


def start_receive(entry: entry_pb2.Entry) -> Span | None:
    """Start the span in which a traced entry waits for the application; None if it is not traced.

    Takes the context out of the entry, so that it is the same however it comes.
    """
    traceparent = entry.traceparent
    if not traceparent:
        return None
    entry.ClearField("traceparent")
    if not HAS_OPENTELEMETRY:
        return None
    attributes: dict[str, str | int] = {
        "messaging.system": "parley",
        "messaging.operation.name": "receive",
        "messaging.operation.type": "receive",
        "parley.conversation_id": entry.conversation_id,
        "parley.seq": entry.seq,
    }
    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    return trace.get_tracer("parley_client").start_span(
        "device receive", context, kind=trace.SpanKind.CONSUMER, attributes=attributes
    )


def _end(span: Span, error: BaseException | None) -> None:
    if error is not None:
        # The message may hold content.
        span.set_attribute("error.type", getattr(error, "reason", "") or type(error).__name__)
        span.set_status(trace.StatusCode.ERROR)
    span.end()
