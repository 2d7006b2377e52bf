"""The outcomes of pushes to Web Push services: each status of the standards and of the services' references.

Sources: RFC 8030, sections 5 to 8; RFC 8292, section 4.2; Mozilla, “Error Codes”
(https://mozilla-services.github.io/autopush-rs/errors.html); Apple, “Sending web push notifications in web apps and
browsers” (https://developer.apple.com/documentation/usernotifications); Microsoft, “Push notification service request
and response headers” (https://learn.microsoft.com/windows/apps/develop/notifications/push-notifications).
"""

from __future__ import annotations

import re
from typing import Final, Literal

from notify_service.model.push import Accepted, CredentialsRefused, Outcome, Rejected, RetryLater, TokenGone
from notify_service.providers.client import PushAnswer

_Effect = Literal["gone", "retry", "reject", "refuse"]

MAX_ID_LENGTH: Final = 512
_WORD: Final = re.compile(r"[A-Z][A-Za-z]{1,40}")

EFFECTS: Final[dict[int, _Effect]] = {
    400: "reject",
    401: "refuse",
    403: "refuse",
    404: "gone",
    # Microsoft's service calls a channel throttled with this status.
    406: "retry",
    408: "retry",
    410: "gone",
    413: "reject",
    429: "retry",
}
"""The effect of each status; other ones of 500 and above are tried again, and the rest is rejected."""


def web_push_outcome(answer: PushAnswer) -> Outcome:
    """Return the outcome of a push by its answer. A redirect is rejected: it may lead to a host that is not allowed."""
    if 200 <= answer.status < 300:
        return Accepted(answer.headers.get("location", "")[:MAX_ID_LENGTH])
    reason = _reason(answer)
    effect = EFFECTS.get(answer.status) or ("retry" if answer.status >= 500 else "reject")
    if effect == "gone":
        return TokenGone(reason)
    if effect == "retry":
        return RetryLater(reason, answer.retry_after_s)
    return CredentialsRefused(reason) if effect == "refuse" else Rejected(reason)


def _reason(answer: PushAnswer) -> str:
    """Return the status, and the number or word that Mozilla's or Apple's service adds.

    Texts are left out: they may repeat the address, which is secret.
    """
    if 300 <= answer.status < 400:
        return f"HTTP {answer.status}: redirects are not followed"
    document = answer.document()
    number, word = document.get("errno"), document.get("reason")
    if isinstance(number, int):
        return f"HTTP {answer.status}, errno {number}"
    is_word = isinstance(word, str) and _WORD.fullmatch(word)
    return f"HTTP {answer.status}, {word}" if is_word else f"HTTP {answer.status}"
