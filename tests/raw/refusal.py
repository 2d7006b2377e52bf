"""A refusal as a client receives it: code, reason and details, read from the wire alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

# The message of gRPC's client for a call that ended while it wrote. The status is lost, and the outcome unknown.
LOST_STATUS: Final = "Internal error from Core"

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal. `reason` is empty if it carries none; `retry_after` is in seconds, None if unset."""

    code: str
    reason: str = ""
    message: str = ""
    retry_after: float | None = None
    fields: tuple[str, ...] = ()

    @property
    def code_and_reason(self) -> tuple[str, str]:
        """Return code and reason, to compare with the documentation."""
        return self.code, self.reason


def of_status(status: Status) -> Refusal:
    """Return the refusal of a google.rpc.Status, whose ErrorInfo must be of the domain "parley"."""
    info, retry, bad = ErrorInfo(domain="parley"), RetryInfo(), BadRequest()
    for detail in status.details:
        for known in (info, retry, bad):
            if detail.Is(known.DESCRIPTOR):
                detail.Unpack(known)
    assert info.domain == "parley"
    return Refusal(
        _CODES[status.code],
        info.reason,
        status.message,
        retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None,
        tuple(violation.field for violation in bad.field_violations),
    )


def of_error(error: grpc.aio.AioRpcError) -> Refusal:
    """Return the refusal that ended a call; code UNAVAILABLE and message LOST_STATUS if it is not known."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # has what is asked of a call
    if status is not None:
        return of_status(status)
    code, message = error.code(), error.details() or ""
    lost = code is grpc.StatusCode.INTERNAL and message == LOST_STATUS
    return Refusal("UNAVAILABLE" if lost else code.name, message=message)
