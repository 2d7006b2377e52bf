"""The errors of media alone: one class for each reason. Those of every service are in `servicekit.errors`.

Failure
├── MediaNotFound                       NOT_FOUND
├── MediaRejected                       FAILED_PRECONDITION
├── QuotaExceeded                       RESOURCE_EXHAUSTED, with a delay
└── MediaNotReady                       UNAVAILABLE, with a delay
"""

from __future__ import annotations

from typing import ClassVar

from servicekit.errors import Exhausted, Invalid, NotFound, Precondition, Unavailable
from servicekit.failure import Violation


class MediaNotFound(NotFound):
    """The file does not exist, or the caller may not see it; both have the same error."""

    default_reason: ClassVar[str] = "MEDIA_NOT_FOUND"


class MediaRejected(Precondition):
    """The scanner of the deployment found harmful contents in the file."""

    default_reason: ClassVar[str] = "MEDIA_REJECTED"


class QuotaExceeded(Exhausted):
    """The files of the user would exceed the user's quota."""

    default_reason: ClassVar[str] = "QUOTA_EXCEEDED"


class MediaNotReady(Unavailable):
    """The file is still being uploaded, verified or scanned."""

    default_reason: ClassVar[str] = "MEDIA_NOT_READY"


def media_not_found() -> MediaNotFound:
    """Return the error for a file that does not exist or that the caller may not see."""
    return MediaNotFound("file not found")


def field_invalid(field: str, description: str) -> Invalid:
    """Return the error for a field of a request that is wrong for a reason the rules of the protos cannot state."""
    return Invalid(f"{field}: {description}", violations=(Violation(field, description),))
