"""How the SDK says no. One tree of errors, made from the statuses of the contract.

ParleyError                  code, reason, message, retry_after, violations, metadata
├── Unauthenticated          the token or the password is not good
│   └── SignedOut            this device is signed in no more: log in again
├── InvalidRequest           a field breaks a rule; `violations` says which
├── NotFound                 does not exist, or is not for the caller to see
├── AlreadyExists            a name is taken, an id was used for something else
├── NotAllowed               a role, a block or the deployment forbids it
├── NotPossibleNow           the state of things forbids it
├── TryLater                 too fast, too full, or away for a moment; `retry_after` says how long
│   ├── DoorUnreachable      nobody answered at the address of the door
│   └── SendQueueFull        more waits to be sent than the device keeps (not sent)
├── TimedOut                 no answer in time: whether it was done is not known
├── Superseded               a newer stream of the same device took over
├── NotServed                part of the contract, not served by this version
└── ServerFault              a fault of the server
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

_DETAILS = "grpc-status-details-bin"
# How gRPC begins its own words where no connection came about.
_NOBODY_THERE = ("failed to connect", "errors resolving")
_NAMES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Violation:
    """A field that breaks a rule, as a path such as `content.text.body`, and the rule in words."""

    field: str
    description: str


class ParleyError(Exception):
    """What was refused. `code` names a gRPC code, `reason` one of the contract's (empty: Parley gave none).

    `retry_after` is in seconds; None: the server did not invite to try again.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str = "",
        retry_after: float | None = None,
        violations: tuple[Violation, ...] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.retry_after = retry_after
        self.violations = violations
        self.metadata = dict(metadata or {})

    def __str__(self) -> str:
        named = f"{self.code} {self.reason}".strip()
        fields = "; ".join(f"{each.field}: {each.description}" for each in self.violations)
        return f"{named}: {self.message}" + (f" ({fields})" if fields else "")

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code in ("RESOURCE_EXHAUSTED", "UNAVAILABLE")


class Unauthenticated(ParleyError):
    """The token or the password is not good."""


class SignedOut(Unauthenticated):
    """This device is signed in no more: log in again."""


class InvalidRequest(ParleyError):
    """A field breaks a rule; `violations` says which."""


class NotFound(ParleyError):
    """Does not exist, or is not for the caller to see."""


class AlreadyExists(ParleyError):
    """A name is taken, or an id was used for something else."""


class NotAllowed(ParleyError):
    """A role, a block or the deployment forbids it."""


class NotPossibleNow(ParleyError):
    """The state of things forbids it."""


class TryLater(ParleyError):
    """Too fast, too full, or away for a moment."""


class DoorUnreachable(TryLater):
    """Nobody answered at the address of the door."""


class SendQueueFull(TryLater):
    """More waits to be sent than the device keeps; this message was not taken."""


class TimedOut(ParleyError):
    """No answer in time: whether it was done is not known."""


class Superseded(ParleyError):
    """A newer stream of the same device took over."""


class NotServed(ParleyError):
    """Part of the contract, not served by this version."""


class ServerFault(ParleyError):
    """A fault of the server."""


_BY_REASON: dict[str, type[ParleyError]] = {
    "DEVICE_REVOKED": SignedOut,
    "REFRESH_TOKEN_INVALID": SignedOut,
    "SESSION_SUPERSEDED": Superseded,
}
_BY_CODE: dict[str, type[ParleyError]] = {
    "UNAUTHENTICATED": Unauthenticated,
    "INVALID_ARGUMENT": InvalidRequest,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "PERMISSION_DENIED": NotAllowed,
    "FAILED_PRECONDITION": NotPossibleNow,
    "RESOURCE_EXHAUSTED": TryLater,
    "UNAVAILABLE": TryLater,
    "DEADLINE_EXCEEDED": TimedOut,
    "UNIMPLEMENTED": NotServed,
    "INTERNAL": ServerFault,
}


def from_status(status: Status) -> ParleyError:
    """The error a google.rpc.Status tells of."""
    info, retry, bad = ErrorInfo(), RetryInfo(), BadRequest()
    for detail in status.details:
        for known in (info, retry, bad):
            if detail.Is(known.DESCRIPTOR):
                detail.Unpack(known)
    code = _NAMES.get(status.code, "UNKNOWN")
    kind = _BY_REASON.get(info.reason) or _BY_CODE.get(code, ParleyError)
    return kind(
        status.message,
        code=code,
        reason=info.reason,
        retry_after=retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None,
        violations=tuple(Violation(each.field, each.description) for each in bad.field_violations),
        metadata=info.metadata,
    )


def from_call(code: grpc.StatusCode, details: str | None, trailers: Iterable[tuple[str, str | bytes]]) -> ParleyError:
    """The error a call ended with: from its status details, or from code and text if it has none."""
    for key, value in trailers:
        if key == _DETAILS and isinstance(value, bytes):
            return from_status(Status.FromString(value))
    text = details or code.name
    if code is grpc.StatusCode.UNAVAILABLE and any(sign in text.lower() for sign in _NOBODY_THERE):
        return DoorUnreachable(text, code=code.name)
    return _BY_CODE.get(code.name, ParleyError)(text, code=code.name)


def from_rpc(error: grpc.aio.AioRpcError) -> ParleyError:
    """The error of a call that gRPC raised."""
    return from_call(error.code(), error.details(), tuple(error.trailing_metadata() or ()))
