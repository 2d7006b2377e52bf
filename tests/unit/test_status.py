"""A failure round-trips through a gRPC status with all its details."""

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from parley.common.v1 import error_pb2
from servicekit.errors import StoreUnavailable
from servicekit.failure import Failure, Violation
from servicekit.status import DOMAIN, from_proto, to_proto

FAILURES = [
    Failure("conversation not found", code="NOT_FOUND", reason="CONVERSATION_NOT_FOUND"),
    Failure("slower", code="RESOURCE_EXHAUSTED", reason="RATE_LIMITED", retry_after=2.5),
    Failure(
        "two fields",
        code="INVALID_ARGUMENT",
        reason="FIELD_INVALID",
        violations=(Violation("a.b", "is empty"), Violation("c", "is large")),
    ),
    Failure("elsewhere", code="UNAVAILABLE", reason="OWNER_UNAVAILABLE", metadata={"owner": "chat-2"}),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.reason)
def test_failure_round_trips(failure: Failure) -> None:
    assert vars(from_proto(to_proto(failure))) == vars(failure)


def test_failure_is_of_the_class_of_its_reason_again() -> None:
    assert type(from_proto(to_proto(StoreUnavailable("no answer")))) is StoreUnavailable
    assert type(from_proto(to_proto(Failure(code="INTERNAL", reason="STORE_UNAVAILABLE")))) is Failure
    assert type(from_proto(to_proto(Failure(code="NOT_FOUND", reason="NO_SUCH_REASON")))) is Failure


def test_reason_has_one_class() -> None:
    with pytest.raises(TypeError, match="StoreUnavailable"):
        type("Other", (Failure,), {"default_reason": "STORE_UNAVAILABLE"})


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_retryable_failure_has_a_retry_delay(code: str) -> None:
    assert Failure(code=code).retry_after == 1.0


def test_status_has_exactly_one_error_info_of_the_domain() -> None:
    infos = [detail for detail in to_proto(FAILURES[2]).details if detail.Is(ErrorInfo.DESCRIPTOR)]
    info = ErrorInfo()
    assert len(infos) == 1
    assert infos[0].Unpack(info)
    assert info.domain == DOMAIN


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.reason)
def test_tested_reasons_are_in_the_contract(failure: Failure) -> None:
    assert error_pb2.ErrorReason.Value(f"ERROR_REASON_{failure.reason}") > 0
