"""The conversion between failures and google.rpc.Status."""

from __future__ import annotations

from typing import cast

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from servicekit.durations import to_duration
from servicekit.failure import Failure, Violation

DOMAIN = "parley"

_CODES = {code.name: code for code in grpc.StatusCode}
_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


def to_proto(failure: Failure) -> Status:
    """Return the status of `failure`: an ErrorInfo, and RetryInfo or BadRequest if the failure has such details."""
    details: list[Message] = [ErrorInfo(reason=failure.reason, domain=DOMAIN, metadata=failure.metadata)]
    if failure.retry_after is not None:
        details.append(RetryInfo(retry_delay=to_duration(failure.retry_after)))
    if failure.violations:
        details.append(
            BadRequest(
                field_violations=[
                    BadRequest.FieldViolation(field=violation.field, description=violation.description)
                    for violation in failure.violations
                ]
            )
        )
    return Status(
        code=_CODES[failure.code].value[0],
        message=failure.message,
        details=[_pack_any(detail) for detail in details],
    )


def from_proto(status: Status) -> Failure:
    """Return the failure of `status`, of the class of its reason; without an ErrorInfo its reason is INTERNAL."""
    info, retry, bad = ErrorInfo(reason="INTERNAL"), RetryInfo(), BadRequest()
    for detail in status.details:
        for message in (info, retry, bad):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    code = _NAMES.get(status.code, "UNKNOWN")
    return Failure.class_of(code, info.reason)(
        status.message,
        code=code,
        reason=info.reason,
        metadata=info.metadata,
        retry_after=retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None,
        violations=tuple(Violation(violation.field, violation.description) for violation in bad.field_violations),
    )


def to_grpc(failure: Failure) -> grpc.Status:
    """Return `failure` as the argument of a servicer's `abort_with_status`."""
    return rpc_status.to_status(to_proto(failure))


def from_grpc(error: grpc.aio.AioRpcError) -> Failure | None:
    """Return the failure that a server reported in `error`; None if the error carries none, as one of the transport."""
    try:
        # The error has the methods of a call that this reads.
        status = rpc_status.from_call(cast("grpc.Call", error))
    except ValueError:
        return None
    return from_proto(status) if status is not None else None


def _pack_any(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
