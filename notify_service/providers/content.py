"""The content of a push as the app reads it: one JSON object for all providers, in clear or encrypted to the device.

A notification has `kind` "message", `conversation_id`, `seq`, `collapse_id`, `badge`, `title` and `body`; a
withdrawal, of what was read elsewhere or deleted, has `kind` "read" and the same up to `badge`. Without `badge` the
number on the icon stays. Providers show `title` and `body` of a notification in clear themselves, and carry the other
fields beside it. Encrypted content is the whole object, in one field `encrypted`: base64url, without padding, of the
bytes that `notify_service/encryption.py` describes. The app drops what it has seen: a seq up to the newest of the
conversation.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from notify_service.encryption import MAX_CONTENT_BYTES, OVERHEAD_BYTES, encrypt, padded_length
from notify_service.model.push import EncryptionKey, Notification, Push
from notify_service.model.text_cut import cut, cut_to_fit

ENCRYPTED: Final = "encrypted"
"""The field with the encrypted content."""

# In code points. No platform shows more of them.
MAX_TITLE_LENGTH: Final = 100
MAX_BODY_LENGTH: Final = 1000

Fields = dict[str, str | int]


def encode_json(document: Mapping[str, object]) -> bytes:
    """Return compact JSON in UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def base64url(data: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def clear_fields(push: Push) -> Fields:
    """Return the fields of a push that its provider does not show."""
    fields: Fields = {
        "kind": "message" if isinstance(push, Notification) else "read",
        "conversation_id": push.conversation_id,
        "seq": push.seq,
        "collapse_id": push.collapse_id,
    }
    return fields if push.badge is None else fields | {"badge": push.badge}


def title_of(notification: Notification) -> str:
    """Return the title, cut to MAX_TITLE_LENGTH."""
    return cut(notification.title, MAX_TITLE_LENGTH)


def body_of(notification: Notification) -> str:
    """Return the body, cut to MAX_BODY_LENGTH."""
    return cut(notification.body, MAX_BODY_LENGTH)


def encrypt_content(push: Push, key: EncryptionKey, limit: int = MAX_CONTENT_BYTES) -> bytes:
    """Return the content of a push, at most `limit` bytes with its padding, encrypted to the device.

    The body is cut to fit. Raise ValueError if the key is no point on P-256, or if the content does not fit without
    a body.
    """
    content = _encode_content(push, limit)
    return encrypt(content, key, length=padded_length(len(content), limit))


def seal_content(push: Push, key: EncryptionKey, characters: int) -> str:
    """Return the encrypted content in base64url, at most `characters` long. Raise ValueError as `encrypt_content`."""
    limit = min(characters * 3 // 4 - OVERHEAD_BYTES, MAX_CONTENT_BYTES)
    return base64url(encrypt_content(push, key, limit))


def blind_collapse_id(collapse_id: str, device: str) -> str:
    """Return 32 base64url characters that stand for the conversation at one device.

    They are others for every device: from equal collapse ids a provider would learn who is in one conversation. They
    are also a `Topic` (RFC 8030, section 5.4).
    """
    return base64url(sha256(f"{collapse_id}\n{device}".encode()).digest()[:24])


def _encode_content(push: Push, limit: int) -> bytes:
    fields = clear_fields(push)
    if not isinstance(push, Notification):
        return encode_json(fields)
    fields["title"] = title_of(push)

    def encode(body: str) -> bytes:
        return encode_json(fields | {"body": body})

    return encode(cut_to_fit(body_of(push), lambda body: len(encode(body)) <= limit))
