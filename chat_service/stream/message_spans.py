"""The spans of the edge: of a send until its answer, and of a delivery until the device's transport has it.

Whether a message is traced is decided here, once, when it is sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from opentelemetry.trace import SpanKind

from chat_service.model.delivery import AttachedSession, Delivery
from chat_service.model.requests import Appended, Unchanged
from chat_service.model.spans import end_with_outcome, message_attributes
from chat_service.wire.entries import with_traceparent
from parley.chat.v1 import chat_pb2
from servicekit import tracing
from servicekit.failure import Failure
from servicekit.tracing import OpenSpan

EncodedEntry = tuple[bytes, bytes, str]
"""An entry for other users, the same for the devices of its actor, and the actor's id."""


def start_frame_span(send: chat_pb2.SendMessageRequest, user_id: str, stream: str) -> OpenSpan | None:
    """Start the span of a send on a stream; None if it is not traced.

    A trace that the client has sampled is continued, as far as the server admits that. Of all others the sampling ratio
    is traced. `stream` is the trace context of the stream, to which the span links: it lasts for hours.
    """
    if tracing.admit_client(send.traceparent):
        return _start_send_span(send, user_id, SpanKind.SERVER, send.traceparent, stream)
    return _start_send_span(send, user_id, SpanKind.SERVER, "", stream) if tracing.draw_sample() else None


def start_call_span(send: chat_pb2.SendMessageRequest, user_id: str) -> OpenSpan | None:
    """Start the span of a send as a unary call; None if it is not traced.

    It is if the trace of the call is sampled. A trace that the client has sampled is continued as for a frame, and
    linked to that of the call.
    """
    call = tracing.current_traceparent()
    if tracing.admit_client(send.traceparent):
        return _start_send_span(send, user_id, SpanKind.INTERNAL, send.traceparent, call)
    return _start_send_span(send, user_id, SpanKind.INTERNAL, call, "") if call else None


async def await_in_span(span: OpenSpan | None, answer: Awaitable[Appended | Unchanged]) -> Appended | Unchanged:
    """Return the answer to a send as a unary call, and end its span with it. Raise its refusal."""
    try:
        appended = await answer
    except BaseException as error:
        if span is not None:
            span.end(failure=error if isinstance(error, Failure) else None)
        raise
    if span is not None:
        end_with_outcome(span, appended)
    return appended


def _start_send_span(
    send: chat_pb2.SendMessageRequest, user_id: str, kind: SpanKind, parent: str, link: str
) -> OpenSpan | None:
    attributes = message_attributes(
        "send", UUID(send.client_message_id).bytes, conversation_id=send.conversation_id, user_id=user_id
    )
    return tracing.start_span("edge send", parent, kind=kind, links=(link,), attributes=attributes)


@dataclass(frozen=True, slots=True)
class DeliverySpans:
    """The spans in which a delivery with traced entries goes to one session, by entry; None for an untraced one."""

    spans: Sequence[OpenSpan | None]

    @classmethod
    def start(cls, delivery: Delivery, session: AttachedSession, stream: str) -> Self:
        """Start the spans; each links to `stream`, the trace context of the session's stream."""
        spans = list[OpenSpan | None]()
        for entry, traceparent in zip(delivery.entries, delivery.traceparents, strict=True):
            attributes = message_attributes(
                "deliver", entry.request_id, user_id=session.user_id, device_id=session.device_id
            )
            spans.append(
                tracing.start_span(
                    "edge deliver", traceparent, kind=SpanKind.PRODUCER, links=(stream,), attributes=attributes
                )
                if traceparent
                else None
            )
        return cls(spans)

    def add_contexts(self, entries: Sequence[EncodedEntry]) -> list[EncodedEntry]:
        """Return the entries with the trace contexts for the device."""
        return [
            entry
            if span is None
            else (with_traceparent(entry[0], span.traceparent), with_traceparent(entry[1], span.traceparent), entry[2])
            for entry, span in zip(entries, self.spans, strict=True)
        ]

    def end(self, failure: Failure | None = None) -> None:
        """End the spans: the device has the entries, or did not get them because of a failure."""
        for span in self.spans:
            if span is not None:
                span.end(failure=failure)
