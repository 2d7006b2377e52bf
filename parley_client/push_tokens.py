"""Push tokens: what push providers gave an app on a device, and how they are registered."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from parley.notify.v1 import notify_pb2


class PushProvider(Enum):
    """The service that delivers pushes to a device. UNKNOWN: a newer server has added it."""

    UNKNOWN = notify_pb2.PUSH_PROVIDER_UNSPECIFIED
    FCM = notify_pb2.PUSH_PROVIDER_FCM
    APNS = notify_pb2.PUSH_PROVIDER_APNS
    WEB_PUSH = notify_pb2.PUSH_PROVIDER_WEB_PUSH

    @classmethod
    def _missing_(cls, value: object) -> PushProvider:  # noqa: ARG003
        """Return UNKNOWN for a provider that a newer server has added."""
        return cls.UNKNOWN


class ApnsEnvironment(Enum):
    """The environment of Apple's service that issued a token: SANDBOX for apps run from Xcode, else PRODUCTION."""

    PRODUCTION = notify_pb2.APNS_ENVIRONMENT_PRODUCTION
    SANDBOX = notify_pb2.APNS_ENVIRONMENT_SANDBOX


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """The key of a device to which pushes are encrypted as in RFC 8291, so that the provider cannot read them.

    `p256dh` is the public key (P-256, uncompressed, 65 bytes), `auth` the shared secret (16 bytes).
    """

    p256dh: bytes
    auth: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class FcmToken:
    """A registration token of Firebase Cloud Messaging. `encryption` None: Google can read the pushes."""

    token: str = field(repr=False)
    encryption: EncryptionKey | None = None


@dataclass(frozen=True, slots=True)
class ApnsToken:
    """A device token of Apple's service, in hex digits, for the app with the bundle id `topic`.

    `encryption` None: Apple can read the pushes.
    """

    token: str = field(repr=False)
    topic: str
    environment: ApnsEnvironment = ApnsEnvironment.PRODUCTION
    encryption: EncryptionKey | None = None


@dataclass(frozen=True, slots=True)
class WebPushSubscription:
    """The `PushSubscription` of a browser, or of UnifiedPush: the URL to post to, and the key of the device."""

    endpoint: str = field(repr=False)
    encryption: EncryptionKey

    @classmethod
    def from_json(cls, document: str) -> WebPushSubscription:
        """Convert the JSON of a browser, `JSON.stringify(subscription)`. Raises ValueError."""
        try:
            subscription = json.loads(document)
            endpoint, keys = subscription["endpoint"], subscription["keys"]
            key = EncryptionKey(_decode_base64url(keys["p256dh"]), _decode_base64url(keys["auth"]))
            return cls(_require_text(endpoint), key)
        except (ValueError, TypeError, KeyError):
            raise ValueError(
                "the JSON of a PushSubscription has “endpoint”, and “p256dh” and “auth” in “keys”"
            ) from None


DeviceToken = FcmToken | ApnsToken | WebPushSubscription
"""The token that a push provider gave the app on a device."""


@dataclass(frozen=True, slots=True)
class PushToken:
    """The registration of a device, without the token itself. Times are the server's.

    `language` is a BCP 47 tag. `last_push_time`, to the minute, is when the provider last accepted a push; None if it
    never did.
    """

    device_id: str
    provider: PushProvider
    language: str
    encrypted: bool
    register_time: datetime
    last_push_time: datetime | None = None

    @classmethod
    def from_proto(cls, proto: notify_pb2.PushToken) -> PushToken:
        """Convert a proto."""
        return cls(
            proto.device_id,
            PushProvider(proto.provider),
            proto.language,
            proto.encrypted,
            proto.register_time.ToDatetime(tzinfo=UTC),
            proto.last_push_time.ToDatetime(tzinfo=UTC) if proto.HasField("last_push_time") else None,
        )


def registration_request(token: DeviceToken, language: str) -> notify_pb2.RegisterPushTokenRequest:
    """Return the request that registers a token; an empty language is the deployment's default."""
    request = notify_pb2.RegisterPushTokenRequest(language=language)
    match token:
        case FcmToken():
            request.fcm.token = token.token
        case ApnsToken():
            request.apns.token, request.apns.topic = token.token.lower(), token.topic
            request.apns.environment = token.environment.value
        case WebPushSubscription():
            request.web_push.endpoint = token.endpoint
            request.web_push.p256dh, request.web_push.auth = token.encryption.p256dh, token.encryption.auth
            return request
    if token.encryption is not None:
        request.encryption.p256dh, request.encryption.auth = token.encryption.p256dh, token.encryption.auth
    return request


def _decode_base64url(value: object) -> bytes:
    """Decode base64url, with or without its padding. Raises ValueError, TypeError."""
    text = _require_text(value)
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _require_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
