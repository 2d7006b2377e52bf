"""Messages of FCM: the part for Android, and that for iOS apps that use Firebase.

Source: Google, “REST Resource: projects.messages” (https://firebase.google.com/docs/reference/fcm/rest/v1) and
“Non-collapsible and collapsible messages” (https://firebase.google.com/docs/cloud-messaging).

A notification in clear is shown by FCM itself; encrypted ones, and withdrawals, are data messages, which wake the app.
FCM keeps four collapse keys for a device that is offline, and drops others. It keeps 100 data messages without a key,
and tells the app if there were more. Encrypted notifications have no collapse key, so that none is lost silently; the
app collapses them by the `collapse_id` of their content.
"""

from __future__ import annotations

from typing import Any, Final

from notify_service.model.push import FcmToken, Notification, Push, Withdrawal
from notify_service.model.text_cut import cut_to_fit
from notify_service.providers.apns_payload import Aps, alert_aps, background_aps, encrypted_aps
from notify_service.providers.content import (
    ENCRYPTED,
    blind_collapse_id,
    body_of,
    clear_fields,
    encode_json,
    seal_content,
    title_of,
)

# Of keys and values. FCM passes all of them on to Apple's service, whose limit is the same.
MAX_MESSAGE_BYTES: Final = 4096

Message = dict[str, Any]


def fcm_message(token: FcmToken, push: Push, now_ms: int) -> Message:
    """Return the `message` of a request. Raise ValueError if the encryption key is no point on P-256."""
    message = _content(token, push)
    android = {"priority": _priority(push), "ttl": f"{push.lifetime_s}s", **message.pop("android", {})}
    apns = {"headers": _apns_headers(token, push, now_ms), "payload": message.pop("apns_payload")}
    return {"token": token.token, **message, "android": android, "apns": apns}


def _content(token: FcmToken, push: Push) -> Message:
    if token.encryption_key is not None:
        message = _with_aps(encrypted_aps(push), {ENCRYPTED: ""})
        room = MAX_MESSAGE_BYTES - len(encode_json(message))
        return message | {"data": {ENCRYPTED: seal_content(push, token.encryption_key, room)}}
    data = {name: str(value) for name, value in clear_fields(push).items()}
    if isinstance(push, Withdrawal):
        return _with_aps(background_aps(), data) | {"android": {"collapse_key": push.collapse_id}}
    return _fit_notification(push, _with_aps(alert_aps(push), data)) | {"android": _android(push)}


def _fit_notification(notification: Notification, message: Message) -> Message:
    """Return the message with the title and the body, cut so that it has at most MAX_MESSAGE_BYTES."""

    def with_body(body: str) -> Message:
        return message | {"notification": {"title": title_of(notification), "body": body}}

    def fits(body: str) -> bool:
        return len(encode_json(with_body(body))) <= MAX_MESSAGE_BYTES

    return with_body(cut_to_fit(body_of(notification), fits))


def _with_aps(aps: Aps, data: dict[str, str]) -> Message:
    return {"data": data, "apns_payload": {"aps": aps}}


def _android(notification: Notification) -> Message:
    shown = {"tag": notification.collapse_id, "sound": "default"}
    return {"collapse_key": notification.collapse_id, "notification": shown}


def _apns_headers(token: FcmToken, push: Push, now_ms: int) -> dict[str, str]:
    blind = token.encryption_key is not None
    return {
        "apns-push-type": "alert" if isinstance(push, Notification) else "background",
        "apns-priority": "10" if _priority(push) == "HIGH" else "5",
        "apns-expiration": str(now_ms // 1000 + push.lifetime_s if push.lifetime_s else 0),
        "apns-collapse-id": blind_collapse_id(push.collapse_id, token.token) if blind else push.collapse_id,
    }


def _priority(push: Push) -> str:
    """Return the priority on Android. Messages of high priority wake a device, and must be shown to the user."""
    return "HIGH" if isinstance(push, Notification) else "NORMAL"
