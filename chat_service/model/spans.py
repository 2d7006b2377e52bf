"""The attributes of the spans that follow a message, by the conventions of OpenTelemetry for messaging."""

from __future__ import annotations

from uuid import UUID

from chat_service.model.requests import Appended, AppendOutcome
from servicekit.failure import Failure
from servicekit.tracing import Attributes, OpenSpan


def message_attributes(operation: str, request_id: bytes, **own: str | int) -> Attributes:
    """Return the attributes of a span about a message: ids and numbers alone.

    `request_id` are the 16 bytes of its id. Each of `own` gets the prefix `parley.`.
    """
    return {
        "messaging.system": "parley",
        "messaging.operation.name": operation,
        "messaging.message.id": str(UUID(bytes=request_id)),
        **{f"parley.{name}": value for name, value in own.items()},
    }


def end_with_outcome(span: OpenSpan, outcome: AppendOutcome) -> None:
    """End the span of a send or an append with its outcome."""
    if isinstance(outcome, Failure):
        span.end(failure=outcome)
    else:
        span.end({"parley.seq": outcome.seq} if isinstance(outcome, Appended) else {})
