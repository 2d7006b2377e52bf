"""The spans of the owner: one from the arrival of a send to its answer, and one for the commit that appends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from opentelemetry.trace import SpanKind

from chat_service.model.entry import Draft, Entry
from chat_service.model.requests import AppendOutcome, OnAppended
from chat_service.model.spans import end_with_outcome, message_attributes
from chat_service.owner.pending import PendingSend
from servicekit.tracing import OpenSpan, start_span

NO_TRACES: Final[Mapping[int, str]] = MappingProxyType({})


def trace_append(draft: Draft, reply: OnAppended) -> tuple[Draft, OnAppended]:
    """Start the span of a traced draft; return the draft with its context, and a `reply` that ends it."""
    attributes = message_attributes(
        "append", draft.request_id, conversation_id=draft.conversation_id, user_id=draft.actor_id
    )
    span = start_span("owner append", draft.traceparent, kind=SpanKind.CONSUMER, attributes=attributes)
    if span is None:
        return draft, reply

    def end_and_reply(outcome: AppendOutcome) -> None:
        end_with_outcome(span, outcome)
        reply(outcome)

    return replace(draft, traceparent=span.traceparent), end_and_reply


def start_commit_spans(sends: Iterable[tuple[PendingSend, Entry]]) -> list[OpenSpan]:
    """Start the span of a group commit in the trace of each of its traced sends.

    They are one commit: each span after the first links to the first.
    """
    batch, spans = list(sends), list[OpenSpan]()
    for pending, entry in batch:
        if not pending.draft.traceparent:
            continue
        attributes = {
            **message_attributes("commit", entry.request_id, conversation_id=entry.conversation_id, seq=entry.seq),
            "messaging.batch.message_count": len(batch),
        }
        links = (spans[0].traceparent,) if spans else ()
        span = start_span("commit", pending.draft.traceparent, links=links, attributes=attributes)
        if span is not None:
            spans.append(span)
    return spans


def traces_of(sends: Iterable[tuple[PendingSend, Entry]]) -> Mapping[int, str]:
    """Return the trace contexts of the entries that are traced, by seq."""
    return {entry.seq: pending.draft.traceparent for pending, entry in sends if pending.draft.traceparent}
