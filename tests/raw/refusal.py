"""What a client is told when it is refused: the code, the reason and what helps, read from the wire alone."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Refusal:
    """`reason` is empty when the refusal carries none; `retry_after` is in seconds, None when it says nothing of it."""

    code: str
    reason: str = ""
    message: str = ""
    retry_after: float | None = None
    fields: tuple[str, ...] = ()

    @property
    def code_and_reason(self) -> tuple[str, str]:
        """Code and reason, to compare with what is documented."""
        return self.code, self.reason


def of_status(status: Status) -> Refusal:
    """The refusal in a google.rpc.Status. Its ErrorInfo must be of our domain."""
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
    """The refusal that ended a call."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # has what is asked of a call
    if status is None:
        return Refusal(error.code().name, message=error.details() or "")
    return of_status(status)
