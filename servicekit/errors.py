"""The errors that every service may return: one class for each reason.

Failure
├── Unauthenticated                     UNAUTHENTICATED
├── Invalid, ContentTooLarge,
│   FrameEmpty, FrameTooLarge,
│   HelloMissing, HelloRepeated,
│   PageTokenInvalid                    INVALID_ARGUMENT
├── NotFound                            NOT_FOUND
├── RequestIdReused                     ALREADY_EXISTS
├── Forbidden, Disabled,
│   CallerNotAllowed                    PERMISSION_DENIED
├── Precondition                        FAILED_PRECONDITION
├── SessionSuperseded                   ABORTED
├── Exhausted, RateLimited,
│   SlowConsumer                        RESOURCE_EXHAUSTED, with a delay
├── Unavailable, StoreUnavailable,
│   ServerBusy, ServerDraining,
│   ServiceUnavailable                  UNAVAILABLE, with a delay
├── TimedOut                            DEADLINE_EXCEEDED
└── NotYetServed                        UNIMPLEMENTED
"""

from __future__ import annotations

from typing import ClassVar

from servicekit.failure import Failure


class Unauthenticated(Failure):
    """The caller could not be authenticated; the reason says why."""

    default_code: ClassVar[str] = "UNAUTHENTICATED"


class Invalid(Failure):
    """The request is invalid; the caller must change it."""

    default_code: ClassVar[str] = "INVALID_ARGUMENT"
    default_reason: ClassVar[str] = "FIELD_INVALID"


class ContentTooLarge(Invalid):
    """The content is larger than the limit."""

    default_reason: ClassVar[str] = "CONTENT_TOO_LARGE"


class FrameEmpty(Invalid):
    """The frame is empty, or of a kind that this server does not know."""

    default_reason: ClassVar[str] = "FRAME_EMPTY"


class FrameTooLarge(Invalid):
    """The frame or request is larger than the limit."""

    default_reason: ClassVar[str] = "FRAME_TOO_LARGE"


class HelloMissing(Invalid):
    """The first frame of the stream was not `hello`."""

    default_reason: ClassVar[str] = "HELLO_MISSING"


class HelloRepeated(Invalid):
    """The stream sent `hello` twice."""

    default_reason: ClassVar[str] = "HELLO_REPEATED"


class PageTokenInvalid(Invalid):
    """The page token was not issued by this service for this request."""

    default_reason: ClassVar[str] = "PAGE_TOKEN_INVALID"


class NotFound(Failure):
    """The object does not exist, or the caller may not see it; both have the same error."""

    default_code: ClassVar[str] = "NOT_FOUND"


class RequestIdReused(Failure):
    """The request id was used before, with another request."""

    default_code: ClassVar[str] = "ALREADY_EXISTS"
    default_reason: ClassVar[str] = "REQUEST_ID_REUSED"


class Forbidden(Failure):
    """The caller is not permitted to do this."""

    default_code: ClassVar[str] = "PERMISSION_DENIED"


class Disabled(Forbidden):
    """This deployment has disabled the feature."""

    default_reason: ClassVar[str] = "DISABLED"


class CallerNotAllowed(Forbidden):
    """The certificate of the caller names no service that may call this port or this service."""

    default_reason: ClassVar[str] = "CALLER_NOT_ALLOWED"


class Precondition(Failure):
    """The state of the object does not allow this."""

    default_code: ClassVar[str] = "FAILED_PRECONDITION"


class SessionSuperseded(Failure):
    """A newer stream of the same device, or of the same server, has replaced this one."""

    default_code: ClassVar[str] = "ABORTED"
    default_reason: ClassVar[str] = "SESSION_SUPERSEDED"


class Exhausted(Failure):
    """A rate or size limit is exceeded; the same request may succeed later."""

    default_code: ClassVar[str] = "RESOURCE_EXHAUSTED"


class RateLimited(Exhausted):
    """The device, user or address exceeds its rate limit, or a limit of concurrent requests."""

    default_reason: ClassVar[str] = "RATE_LIMITED"


class SlowConsumer(Exhausted):
    """The device does not read its stream fast enough."""

    default_reason: ClassVar[str] = "SLOW_CONSUMER"


class Unavailable(Failure):
    """The request cannot be served at present; the same request may succeed later."""

    default_code: ClassVar[str] = "UNAVAILABLE"


class StoreUnavailable(Unavailable):
    """A store did not answer in time, or left the outcome unknown: a write may or may not have happened."""

    default_reason: ClassVar[str] = "STORE_UNAVAILABLE"


class ServerBusy(Unavailable):
    """Too many devices are connecting to this server, or too many passwords are being checked."""

    default_reason: ClassVar[str] = "SERVER_BUSY"


class ServerDraining(Unavailable):
    """The server is draining and accepts no new requests."""

    default_reason: ClassVar[str] = "SERVER_DRAINING"


class ServiceUnavailable(Unavailable):
    """The call needs another service, and no server of it answered in time: the outcome is unknown."""

    default_reason: ClassVar[str] = "SERVICE_UNAVAILABLE"


class TimedOut(Failure):
    """The call took longer than its deadline, or than any call may: the outcome is unknown."""

    default_code: ClassVar[str] = "DEADLINE_EXCEEDED"
    default_reason: ClassVar[str] = "TIMED_OUT"


class NotYetServed(Failure):
    """The method or frame is defined in the protos and not served by this version."""

    default_code: ClassVar[str] = "UNIMPLEMENTED"
    default_reason: ClassVar[str] = "NOT_YET_SERVED"
