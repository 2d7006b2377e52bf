"""A gRPC status becomes the exception of its code and reason, with all details."""

import grpc
import pytest

from parley_client.cli.errors import explain_error
from parley_client.errors import (
    DoorUnreachable,
    InvalidRequest,
    NotFound,
    NotPossibleNow,
    ParleyError,
    SignedOut,
    Superseded,
    TryLater,
    Violation,
    from_call,
    from_status,
)
from servicekit import failure
from servicekit.failure import Failure
from servicekit.status import to_proto


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        ("NOT_FOUND", "CONVERSATION_NOT_FOUND", NotFound),
        ("UNAUTHENTICATED", "DEVICE_REVOKED", SignedOut),
        ("ABORTED", "SESSION_SUPERSEDED", Superseded),
        ("RESOURCE_EXHAUSTED", "RATE_LIMITED", TryLater),
        ("RESOURCE_EXHAUSTED", "TOO_MANY_DEVICES", NotPossibleNow),
        ("DATA_LOSS", "SOMETHING_NEW", ParleyError),
    ],
)
def test_status_maps_to_exception_of_code_and_reason(code: str, reason: str, kind: type[ParleyError]) -> None:
    error = from_status(to_proto(Failure(code=code, reason=reason)))
    assert type(error) is kind
    assert (error.code, error.reason) == (code, reason)


def test_error_carries_retry_delay_and_violations() -> None:
    broken = (failure.Violation("title", "is too long"),)
    refusal = Failure(code="INVALID_ARGUMENT", reason="FIELD_INVALID", retry_after=1.5, violations=broken)
    error = from_status(to_proto(refusal))
    assert isinstance(error, InvalidRequest)
    assert error.retry_after == 1.5
    assert error.violations == (Violation("title", "is too long"),)
    assert explain_error(error, "door") == "The title is too long."


def test_error_text_names_each_violation_once() -> None:
    broken = (failure.Violation("title", "is too long"), failure.Violation("about", "is too long"))
    refusal = Failure("Request.title: is too long", code="INVALID_ARGUMENT", reason="FIELD_INVALID", violations=broken)
    assert str(from_status(to_proto(refusal))) == (
        "INVALID_ARGUMENT FIELD_INVALID: Request.title: is too long (about: is too long)"
    )


def test_call_that_a_leaving_gateway_resets_is_worth_a_retry() -> None:
    error = from_call(grpc.StatusCode.CANCELLED, "CANCELLED", ())
    assert isinstance(error, TryLater)
    assert error.retryable


def test_full_account_is_not_worth_a_retry() -> None:
    error = from_status(to_proto(Failure(code="RESOURCE_EXHAUSTED", reason="TOO_MANY_DEVICES")))
    assert not error.retryable


def test_closed_port_raises_door_unreachable() -> None:
    error = from_call(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses", ())
    assert isinstance(error, DoorUnreachable)
    assert "make run" in explain_error(error, "127.0.0.1:8080")


def test_status_from_envoy_has_no_reason() -> None:
    error = from_call(grpc.StatusCode.UNAVAILABLE, "no healthy upstream", ())
    assert (type(error), error.reason, error.retryable) == (TryLater, "", True)
