"""The outcomes of pushes to FCM: each error code of Google's reference.

Sources: Google, “ErrorCode” (https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode) and “Best practices when
sending FCM messages at scale” (https://firebase.google.com/docs/cloud-messaging/scale-fcm).
"""

from __future__ import annotations

from typing import Any, Final, Literal

from notify_service.model.push import Accepted, CredentialsRefused, Outcome, Rejected, RetryLater, TokenGone
from notify_service.providers.client import PushAnswer

_Effect = Literal["gone", "retry", "reject", "refuse"]

# “If no retry-after header is set, default to 60 seconds.”
QUOTA_DELAY_S: Final = 60.0

EFFECTS: Final[dict[str, _Effect]] = {
    # The codes of FCM, in the FcmError of `details`.
    "UNREGISTERED": "gone",
    "INVALID_ARGUMENT": "reject",
    # The token is one of another Firebase project. It stays: the wrong service account may be in use.
    "SENDER_ID_MISMATCH": "reject",
    "QUOTA_EXCEEDED": "retry",
    "UNAVAILABLE": "retry",
    "INTERNAL": "retry",
    # The credentials for Apple's service, or for Web Push, that the Firebase project has.
    "THIRD_PARTY_AUTH_ERROR": "refuse",
    # The codes of Google's APIs, in `status`, which come without an FcmError.
    # The project does not exist: a token that does not is UNREGISTERED.
    "NOT_FOUND": "reject",
    "RESOURCE_EXHAUSTED": "retry",
    "ABORTED": "retry",
    "CANCELLED": "retry",
    "DEADLINE_EXCEEDED": "retry",
    "UNAUTHENTICATED": "refuse",
    "PERMISSION_DENIED": "refuse",
    "FAILED_PRECONDITION": "reject",
    "OUT_OF_RANGE": "reject",
    "UNIMPLEMENTED": "reject",
}
"""The effect of each error code."""


def fcm_outcome(answer: PushAnswer) -> Outcome:
    """Return the outcome of a push by its answer. A code that the table lacks is judged by the status of HTTP."""
    if answer.status == 200:
        return Accepted(str(answer.document().get("name", "")))
    error = answer.document().get("error")
    code = _code(error) if isinstance(error, dict) else ""
    reason = code or f"HTTP {answer.status}"
    if code == "INVALID_ARGUMENT" and isinstance(error, dict) and _concerns_token(error):
        return TokenGone(reason)
    effect = EFFECTS.get(code) or _effect_of_status(answer.status)
    if effect == "gone":
        return TokenGone(reason)
    if effect == "retry":
        default_s = QUOTA_DELAY_S if answer.status == 429 else None
        return RetryLater(reason, default_s if answer.retry_after_s is None else answer.retry_after_s)
    return CredentialsRefused(reason) if effect == "refuse" else Rejected(reason)


def _code(error: dict[str, Any]) -> str:
    """Return the most specific known code of an error, or nothing."""
    codes = [detail.get("errorCode") for detail in _details(error)] + [error.get("status")]
    return next((code for code in codes if isinstance(code, str) and code in EFFECTS), "")


def _concerns_token(error: dict[str, Any]) -> bool:
    """Return True if the token has a wrong form; FCM says so in a field violation, or in the message alone."""
    violations = [each for detail in _details(error) for each in _objects(detail.get("fieldViolations"))]
    fields = [violation.get("field") for violation in violations]
    return "message.token" in fields or "not a valid FCM registration token" in str(error.get("message"))


def _details(error: dict[str, Any]) -> list[dict[str, Any]]:
    return _objects(error.get("details"))


def _objects(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list; an empty list if it is none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _effect_of_status(status: int) -> _Effect:
    if status in (401, 403):
        return "refuse"
    return "retry" if status in (408, 429) or status >= 500 else "reject"
