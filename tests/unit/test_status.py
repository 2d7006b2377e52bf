"""A failure round-trips through a gRPC status with all its details."""

import ast
from pathlib import Path
from typing import Final

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from parley.common.v1 import error_pb2
from servicekit.errors import StoreUnavailable
from servicekit.failure import Failure, Violation
from servicekit.status import DOMAIN, from_proto, to_proto

ROOT: Final = Path(__file__).parents[2]
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


def reasons_in(code: ast.AST) -> set[str]:
    """Return the reasons that the code gives to failures: as a class's `default_reason`, or as an argument `reason`."""
    values: list[ast.expr | None] = []
    for node in ast.walk(code):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            values += [node.value for each in targets if isinstance(each, ast.Name) and each.id == "default_reason"]
        elif isinstance(node, ast.Call):
            values += [each.value for each in node.keywords if each.arg == "reason"]
    return {str(each.value) for each in values if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def test_reasons_of_failures_are_in_the_contract() -> None:
    files = [file for package in ("servicekit", "*_service") for file in ROOT.glob(f"{package}/**/*.py")]
    reasons = {reason for file in files for reason in reasons_in(ast.parse(file.read_text(encoding="utf-8")))}
    assert "STORE_UNAVAILABLE" in reasons
    names = set(error_pb2.ErrorReason.keys())
    missing = {each for each in reasons if f"ERROR_REASON_{each}" not in names}
    assert missing == set(), "add to ErrorReason in protos/parley/common/v1/error.proto and to docs/errors.md"


def test_reasons_in_code_are_found() -> None:
    code = 'class A(Failure):\n  default_reason = "A"\nclass B(Failure):\n  default_reason: str = "B"\nF(reason="C")'
    assert reasons_in(ast.parse(code)) == {"A", "B", "C"}
