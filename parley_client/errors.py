"""The errors of the SDK: one hierarchy, converted from gRPC statuses.

ParleyError                  code, reason, message, retry_after, violations, metadata
├── Unauthenticated          the token or the password is invalid
│   └── SignedOut            this device was signed out: log in again
├── InvalidRequest           a field breaks a rule; see `violations`
│   └── ContentTooLarge      the text, the payload or the file exceeds a limit of the server
├── NotFound                 the resource does not exist, or the caller may not see it
├── AlreadyExists            a name or an id is in use
├── NotAllowed               a role, a block or a setting forbids the request
├── NotPossibleNow           the current state does not allow the request
│   ├── MediaRejected        the scanner of the deployment found harmful contents in the file
│   └── QuotaExceeded        the user's files would exceed the user's quota
├── TryLater                 a rate limit, a full queue or an unavailable server; see `retry_after`
│   ├── DoorUnreachable      no connection to the address of the door
│   ├── MediaNotReady        the file is still being uploaded, verified or scanned
│   ├── SendQueueFull        the device's send queue is full (not sent)
│   └── TransferInterrupted  the store of the files does not answer; the next attempt continues
├── TimedOut                 no response in time: the outcome is unknown
├── Superseded               a newer stream of the same device replaced this one
├── WrongDoor                the stored session belongs to another door (not sent)
├── FileChanged              the local file changed during the upload (not sent)
├── FileDamaged              the downloaded bytes are not those of the file (removed)
├── NotServed                part of the contract, not served by this version
└── ServerFault              an internal error of the server
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

_DETAILS = "grpc-status-details-bin"
# Parts of gRPC's own messages when no connection could be made.
_UNREACHABLE_MESSAGES = ("failed to connect", "errors resolving")
_CODE_NAMES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Violation:
    """The path of a field that breaks a rule, such as `content.text.body`, and a description of the rule."""

    field: str
    description: str


class ParleyError(Exception):
    """A failed request. `code` is the name of a gRPC code, `reason` one of the contract's (empty: none was given).

    `retry_after` is in seconds; None: the server sent no RetryInfo.
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
        status = f"{self.code} {self.reason}".strip()
        # The message of a server names its first violation.
        fields = "; ".join(
            text for each in self.violations if (text := f"{each.field}: {each.description}") not in self.message
        )
        return f"{status}: {self.message}" + (f" ({fields})" if fields else "")

    @property
    def retryable(self) -> bool:
        """True if the same request may succeed later."""
        return isinstance(self, TryLater)


class Unauthenticated(ParleyError):
    """The token or the password is invalid."""


class SignedOut(Unauthenticated):
    """This device was signed out: log in again."""


class InvalidRequest(ParleyError):
    """A field breaks a rule; see `violations`."""


class ContentTooLarge(InvalidRequest):
    """The text, the payload or the file exceeds a limit of the server, or a picture has too many pixels."""


class NotFound(ParleyError):
    """The resource does not exist, or the caller may not see it."""


class AlreadyExists(ParleyError):
    """A name is taken, or an id was used for a different request."""


class NotAllowed(ParleyError):
    """A role, a block or a setting of the deployment forbids the request."""


class NotPossibleNow(ParleyError):
    """The current state does not allow the request."""


class MediaRejected(NotPossibleNow):
    """The scanner of the deployment found harmful contents in the file."""


class QuotaExceeded(NotPossibleNow):
    """The user's files would exceed the user's quota; deleting messages with files frees it."""


class TryLater(ParleyError):
    """A rate limit was exceeded, a queue is full, or the server is unavailable."""


class DoorUnreachable(TryLater):
    """No connection to the address of the door could be made."""


class MediaNotReady(TryLater):
    """The file is still being uploaded, verified or scanned; see `retry_after`."""


class TransferInterrupted(TryLater):
    """The store of the files does not answer; the next call for the same file continues where this one stopped."""


class SendQueueFull(TryLater):
    """The device's send queue is full; this message was not queued."""


class TimedOut(ParleyError):
    """No response in time: the outcome of the request is unknown."""


class Superseded(ParleyError):
    """A newer stream of the same device replaced this one."""


class WrongDoor(ParleyError):
    """The stored session belongs to another door; none of its tokens was sent to this one.

    `session_door` is the door that issued the session, `door` that of the client.
    """

    def __init__(self, session_door: str, door: str) -> None:
        super().__init__(
            f"the session belongs to the door {session_door}, not to {door}: log in there, or move the session with "
            "Client.move_session() if both are addresses of the same deployment",
            code="FAILED_PRECONDITION",
        )
        self.session_door = session_door
        self.door = door


class FileChanged(ParleyError):
    """The local file changed during the upload; nothing was sent."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} changed during the upload: upload it again", code="FAILED_PRECONDITION")


class FileDamaged(ParleyError):
    """The SHA-256 of the downloaded bytes is not that of the file; they were removed."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the bytes of {path} were damaged on the way: download it again", code="DATA_LOSS")


class NotServed(ParleyError):
    """Part of the contract, not served by this version."""


class ServerFault(ParleyError):
    """An internal error of the server."""


_BY_REASON: dict[str, type[ParleyError]] = {
    "DEVICE_REVOKED": SignedOut,
    "REFRESH_TOKEN_INVALID": SignedOut,
    "SESSION_SUPERSEDED": Superseded,
    # It succeeds only once another device was signed out.
    "TOO_MANY_DEVICES": NotPossibleNow,
    "CONTENT_TOO_LARGE": ContentTooLarge,
    # It succeeds only once files were deleted.
    "QUOTA_EXCEEDED": QuotaExceeded,
    "MEDIA_NOT_READY": MediaNotReady,
    "MEDIA_REJECTED": MediaRejected,
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
    # Of a gateway or server that ended. A caller that cancels gets asyncio.CancelledError instead.
    "CANCELLED": TryLater,
    "DEADLINE_EXCEEDED": TimedOut,
    "UNIMPLEMENTED": NotServed,
    "INTERNAL": ServerFault,
}


def from_status(status: Status) -> ParleyError:
    """Return the error of a google.rpc.Status."""
    info, retry, bad = ErrorInfo(), RetryInfo(), BadRequest()
    for detail in status.details:
        for message in (info, retry, bad):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    code = _CODE_NAMES.get(status.code, "UNKNOWN")
    error_class = _BY_REASON.get(info.reason) or _BY_CODE.get(code, ParleyError)
    return error_class(
        status.message,
        code=code,
        reason=info.reason,
        retry_after=retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None,
        violations=tuple(Violation(each.field, each.description) for each in bad.field_violations),
        metadata=info.metadata,
    )


def from_call(code: grpc.StatusCode, details: str | None, trailers: Iterable[tuple[str, str | bytes]]) -> ParleyError:
    """Return the error of a failed call: from its status details, or from code and text if it has none."""
    for key, value in trailers:
        if key == _DETAILS and isinstance(value, bytes):
            return from_status(Status.FromString(value))
    text = details or code.name
    if code is grpc.StatusCode.UNAVAILABLE and any(part in text.lower() for part in _UNREACHABLE_MESSAGES):
        return DoorUnreachable(text, code=code.name)
    return _BY_CODE.get(code.name, ParleyError)(text, code=code.name)


def from_rpc(error: grpc.aio.AioRpcError) -> ParleyError:
    """Return the error of a call for which gRPC raised `error`."""
    return from_call(error.code(), error.details(), tuple(error.trailing_metadata() or ()))
