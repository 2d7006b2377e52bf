"""Requests to APNs: the headers and the payload of a push.

Source: Apple, “Sending notification requests to APNs”, “Generating a remote notification” and “Pushing background
updates to your App” (https://developer.apple.com/documentation/usernotifications).
"""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

from notify_service.model.generic_text import new_message
from notify_service.model.push import ApnsToken, Notification, Push
from notify_service.model.text_cut import cut_to_fit
from notify_service.providers.content import (
    ENCRYPTED,
    blind_collapse_id,
    body_of,
    clear_fields,
    encode_json,
    seal_content,
    title_of,
)

MAX_PAYLOAD_BYTES: Final = 4096

# The namespace of the ids of pushes.
_IDS: Final = UUID("6e6f7469-6679-5f73-8572-766963650001")

Aps = dict[str, object]


def apns_headers(token: ApnsToken, push: Push, now_ms: int) -> dict[str, str]:
    """Return the headers of a push without those of authentication.

    A push that is sent again has the same `apns-id`. A lifetime of 0 means that Apple delivers at once or never.
    """
    push_type = "alert" if isinstance(push, Notification) else "background"
    collapse_id = push.collapse_id
    if token.encryption_key is not None:
        collapse_id = blind_collapse_id(collapse_id, token.token)
    return {
        "apns-topic": token.topic,
        "apns-push-type": push_type,
        # A background push with priority 10 is an error.
        "apns-priority": "10" if isinstance(push, Notification) else "5",
        "apns-expiration": str(now_ms // 1000 + push.lifetime_s if push.lifetime_s else 0),
        "apns-collapse-id": collapse_id,
        "apns-id": str(uuid5(_IDS, f"{push.collapse_id} {push.seq} {push_type} {token.token}")),
        "content-type": "application/json",
    }


def apns_payload(token: ApnsToken, push: Push) -> bytes:
    """Return the payload, at most MAX_PAYLOAD_BYTES. Raise ValueError if the encryption key is no point on P-256."""
    if token.encryption_key is not None:
        aps = encrypted_aps(push)
        room = MAX_PAYLOAD_BYTES - len(encode_json({"aps": aps, ENCRYPTED: ""}))
        return encode_json({"aps": aps, ENCRYPTED: seal_content(push, token.encryption_key, room)})
    if not isinstance(push, Notification):
        return encode_json({"aps": background_aps(), **clear_fields(push)})
    notification = push

    def encode(body: str) -> bytes:
        alert = {"title": title_of(notification), "body": body}
        return encode_json({"aps": {"alert": alert, **alert_aps(notification)}, **clear_fields(notification)})

    return encode(cut_to_fit(body_of(notification), lambda body: len(encode(body)) <= MAX_PAYLOAD_BYTES))


def alert_aps(notification: Notification) -> Aps:
    """Return the `aps` of a notification in clear, without its alert."""
    aps: Aps = {"thread-id": notification.conversation_id, "sound": "default"}
    return aps if notification.badge is None else {"badge": notification.badge, **aps}


def encrypted_aps(push: Push) -> Aps:
    """Return the `aps` of an encrypted push.

    The app's Notification Service Extension decrypts the content, and replaces the generic text; `mutable-content`
    has it called.
    """
    if not isinstance(push, Notification):
        return background_aps()
    return {"alert": {"body": new_message(push.language)}, "mutable-content": 1, "sound": "default"}


def background_aps() -> Aps:
    """Return the `aps` of a withdrawal. Apple forbids a badge in it: the app sets that of the content."""
    return {"content-available": 1}
