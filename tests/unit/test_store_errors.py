"""The errors of MongoDB that mean an unavailable store, and those that are raised unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    CollectionInvalid,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WriteError,
    WTimeoutError,
)

from servicekit.errors import StoreUnavailable
from servicekit.mongo import store_errors

ELECTION = (133, 134, 262, 286, 10107)
DUPLICATE, INVALID, FORBIDDEN = 11000, 121, 13


def answer(code: int, *labels: str) -> dict[str, Any]:
    return {"ok": 0, "code": code, "errmsg": "as a server says it", "errorLabels": list(labels)}


def bulk(*write_codes: int, concern_codes: tuple[int, ...] = ()) -> BulkWriteError:
    """Return the error of an ordered insert of many documents, which stops at its first refusal."""
    return BulkWriteError(
        {
            "writeErrors": [{"index": n, "code": code, "errmsg": "no"} for n, code in enumerate(write_codes)],
            "writeConcernErrors": [{"code": code, "errmsg": "not sure"} for code in concern_codes],
            "nInserted": 0,
        }
    )


def unlabelled(code: int) -> OperationFailure:
    return OperationFailure("as a server says it", code, answer(code))


UNAVAILABLE_ERRORS: list[PyMongoError] = [
    *(unlabelled(code) for code in ELECTION),
    *(bulk(code) for code in ELECTION),
    *(bulk(concern_codes=(code,)) for code in (*ELECTION, 64, 91)),
    AutoReconnect("connection closed"),
    NotPrimaryError("not primary", answer(10107)),
    NetworkTimeout("timed out"),
    ServerSelectionTimeoutError("no servers found"),
    ExecutionTimeout("operation exceeded time limit", 50, answer(50)),
    WriteConcernError("not sure", 91, answer(91)),
    WTimeoutError("not sure yet", 64, answer(64)),
    OperationFailure("unknown, but labelled", 999, answer(999, "RetryableWriteError")),
]
OTHER_ERRORS: list[PyMongoError] = [
    DuplicateKeyError("there already", DUPLICATE, answer(DUPLICATE)),
    bulk(DUPLICATE),
    # The caller that handles the duplicate ensures the majority.
    bulk(DUPLICATE, concern_codes=(91,)),
    WriteError("document failed validation", INVALID, answer(INVALID)),
    OperationFailure("not authorized", FORBIDDEN, answer(FORBIDDEN)),
    CollectionInvalid("there already"),
]


def error_id(error: PyMongoError) -> str:
    details: Mapping[str, Any] = error.details or {} if isinstance(error, OperationFailure) else {}
    kinds = ("writeErrors", "writeConcernErrors")
    listed = [f"{kind} {each['code']}" for kind in kinds for each in details.get(kind, ())]
    return " ".join([type(error).__name__, *(listed or [str(details.get("code", ""))])])


def raise_in_store_errors(error: PyMongoError) -> None:
    with store_errors():
        raise error


@pytest.mark.parametrize("error", UNAVAILABLE_ERRORS, ids=error_id)
def test_election_and_connection_errors_are_store_unavailable(error: PyMongoError) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        raise_in_store_errors(error)
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", OTHER_ERRORS, ids=error_id)
def test_other_errors_are_raised_unchanged(error: PyMongoError) -> None:
    with pytest.raises(type(error)) as raised:
        raise_in_store_errors(error)
    assert raised.value is error
