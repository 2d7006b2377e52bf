"""The outcomes of pushes to APNs: each reason of Apple's table.

Source: Apple, “Handling notification responses from APNs”
(https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns).
"""

from __future__ import annotations

from typing import Final, Literal

from notify_service.model.push import Accepted, CredentialsRefused, Outcome, Rejected, RetryLater, TokenGone
from notify_service.providers.client import PushAnswer

_Effect = Literal["gone", "retry", "reject", "refuse"]

EFFECTS: Final[dict[str, _Effect]] = {
    # 400: the token belongs to another environment or app, or is none. The app registers again at its next start.
    "BadDeviceToken": "gone",
    "DeviceTokenNotForTopic": "gone",
    "BadCollapseId": "reject",
    "BadExpirationDate": "reject",
    "BadMessageId": "reject",
    "BadPriority": "reject",
    "BadTopic": "reject",
    "DuplicateHeaders": "reject",
    "InvalidPushType": "reject",
    "MissingDeviceToken": "reject",
    "MissingTopic": "reject",
    "PayloadEmpty": "reject",
    "TopicDisallowed": "reject",
    "IdleTimeout": "retry",
    # 403
    "BadCertificate": "refuse",
    "BadCertificateEnvironment": "refuse",
    "BadEnvironmentKeyIdInToken": "refuse",
    "ExpiredProviderToken": "refuse",
    "Forbidden": "refuse",
    "InvalidProviderToken": "refuse",
    "MissingProviderToken": "refuse",
    "UnrelatedKeyIdInToken": "refuse",
    # 404, 405, 413
    "BadPath": "reject",
    "MethodNotAllowed": "reject",
    "PayloadTooLarge": "reject",
    # 410
    "ExpiredToken": "gone",
    "Unregistered": "gone",
    # 429
    "TooManyProviderTokenUpdates": "retry",
    "TooManyRequests": "retry",
    # 500, 503
    "InternalServerError": "retry",
    "ServiceUnavailable": "retry",
    "Shutdown": "retry",
}
"""The effect of each reason in Apple's table."""


def apns_outcome(answer: PushAnswer) -> Outcome:
    """Return the outcome of a push by its answer. A reason that the table lacks is judged by its status."""
    if answer.status == 200:
        return Accepted(answer.headers.get("apns-id", ""))
    document = answer.document()
    reason = str(document.get("reason", ""))
    if reason not in EFFECTS:
        reason = f"HTTP {answer.status}"
    effect = EFFECTS.get(reason) or _effect_of_status(answer.status)
    if effect == "gone":
        timestamp = document.get("timestamp")
        return TokenGone(reason, timestamp if isinstance(timestamp, int) else None)
    if effect == "retry":
        return RetryLater(reason, answer.retry_after_s)
    return CredentialsRefused(reason) if effect == "refuse" else Rejected(reason)


def _effect_of_status(status: int) -> _Effect:
    if status == 410:
        return "gone"
    if status == 403:
        return "refuse"
    return "retry" if status == 429 or status >= 500 else "reject"
