"""A failure survives the way over the wire, with all that helps to mend it."""

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from parley.common.v1 import error_pb2
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
def test_a_failure_comes_back_as_it_went(failure: Failure) -> None:
    assert vars(from_proto(to_proto(failure))) == vars(failure)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_what_can_be_tried_again_says_when(code: str) -> None:
    assert Failure(code=code).retry_after == 1.0


def test_a_status_has_exactly_one_error_info_of_our_domain() -> None:
    infos = [detail for detail in to_proto(FAILURES[2]).details if detail.Is(ErrorInfo.DESCRIPTOR)]
    info = ErrorInfo()
    assert len(infos) == 1
    assert infos[0].Unpack(info)
    assert info.domain == DOMAIN


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.reason)
def test_the_reasons_used_here_are_documented(failure: Failure) -> None:
    assert error_pb2.ErrorReason.Value(f"ERROR_REASON_{failure.reason}") > 0
