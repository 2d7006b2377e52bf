"""The registration of a device for pushes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256

from notify_service.model.push import ApnsToken, FcmToken, PushToken, WebPushSubscription


class ProviderKind(IntEnum):
    """The push providers; the values are those of PushProvider in the protos."""

    FCM = 1
    APNS = 2
    WEB_PUSH = 3


@dataclass(frozen=True, slots=True)
class Registration:
    """The push token of a device. Times are in milliseconds since 1970; `last_push_ms` is 0 if none was accepted."""

    user_id: str
    device_id: str
    token: PushToken = field(repr=False)
    language: str = "en"
    register_ms: int = 0
    last_push_ms: int = 0
    token_id: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "token_id", token_id(self.token))

    @property
    def provider(self) -> ProviderKind:
        """The provider of the token."""
        return provider_of(self.token)


def provider_of(token: PushToken) -> ProviderKind:
    """Return the provider of a token."""
    match token:
        case FcmToken():
            return ProviderKind.FCM
        case ApnsToken():
            return ProviderKind.APNS
        case WebPushSubscription():
            return ProviderKind.WEB_PUSH


def token_id(token: PushToken) -> bytes:
    """Return 32 bytes that identify a token at its provider, without its key."""
    address = token.endpoint if isinstance(token, WebPushSubscription) else token.token
    return sha256(f"{int(provider_of(token))}\n{address}".encode()).digest()
