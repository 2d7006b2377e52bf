"""Pushes: the tokens of devices, what is sent to them, the outcomes, and the port to the push providers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Protocol, TypeVar

PUBLIC_KEY_BYTES: Final = 65
AUTH_SECRET_BYTES: Final = 16
COLLAPSE_ID_BYTES: Final = 64
"""The longest `apns-collapse-id`, and so the longest collapse id."""
MAX_LIFETIME_S: Final = 28 * 86_400
"""The longest time for which a provider keeps a push. FCM keeps none for longer than four weeks."""


class ApnsEnvironment(IntEnum):
    """The environment of Apple's service that issued a token; the values are those of the protos."""

    PRODUCTION = 1
    SANDBOX = 2


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """The key of a device for the content of pushes (RFC 8291).

    `public_key` is a point on P-256, uncompressed: 65 bytes. `auth_secret` has 16 bytes. Raise ValueError for others;
    whether the point is on the curve shows when something is encrypted.
    """

    public_key: bytes
    auth_secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.public_key) != PUBLIC_KEY_BYTES or self.public_key[0] != 0x04:
            raise ValueError(f"a public key must be an uncompressed P-256 point of {PUBLIC_KEY_BYTES} bytes")
        if len(self.auth_secret) != AUTH_SECRET_BYTES:
            raise ValueError(f"an auth secret must have {AUTH_SECRET_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class FcmToken:
    """A device at Firebase Cloud Messaging. With a key, Google sees no content."""

    token: str = field(repr=False)
    encryption_key: EncryptionKey | None = None


@dataclass(frozen=True, slots=True)
class ApnsToken:
    """A device at Apple's service: its token in hex, the bundle id of the app. With a key, Apple sees no content."""

    token: str = field(repr=False)
    topic: str
    environment: ApnsEnvironment = ApnsEnvironment.PRODUCTION
    encryption_key: EncryptionKey | None = None


@dataclass(frozen=True, slots=True)
class WebPushSubscription:
    """The subscription of a browser, or of an app with UnifiedPush; the content is always encrypted."""

    endpoint: str = field(repr=False)
    encryption_key: EncryptionKey


PushToken = FcmToken | ApnsToken | WebPushSubscription


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification about an entry of a conversation.

    `collapse_id` is one for each conversation, 1 to 64 bytes: a newer notification replaces the older one. Without a
    badge the number on the icon stays. `language` is the BCP 47 tag of the device: the generic text that stands for
    encrypted content is chosen by it. Providers keep the notification for `lifetime_s` seconds (0: they deliver it at
    once or never) while the device is offline. Longer texts are cut. Raise ValueError for a collapse id or lifetime out
    of bounds.
    """

    collapse_id: str
    conversation_id: str
    seq: int
    title: str = field(repr=False)
    body: str = field(repr=False)
    badge: int | None = None
    lifetime_s: int = MAX_LIFETIME_S
    language: str = "en"

    def __post_init__(self) -> None:
        _check_bounds(self.collapse_id, self.lifetime_s)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A silent push: the notifications of a conversation up to `seq` are outdated, and `badge` is the new badge.

    The user has read it on another device, or the message was deleted. It has the collapse id of the notifications that
    it withdraws, and replaces those that a provider still keeps.
    """

    collapse_id: str
    conversation_id: str
    seq: int
    badge: int = 0
    lifetime_s: int = MAX_LIFETIME_S

    def __post_init__(self) -> None:
        _check_bounds(self.collapse_id, self.lifetime_s)


Push = Notification | Withdrawal


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider accepted the push. `provider_id` is its id of the push; empty if it gave none."""

    provider_id: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class TokenGone:
    """The token will never work again and is to be removed.

    `since_ms` is the time at which the provider found that, in milliseconds since 1970; None if it did not say.
    """

    reason: str
    since_ms: int | None = None

    def applies_to(self, register_ms: int) -> bool:
        """Return False if the token was registered after the provider found it gone: then it is valid again."""
        return self.since_ms is None or register_ms <= self.since_ms


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The push may succeed later: after `delay_s` seconds, or after a delay of the caller's choice if it is None.

    It is unknown whether a push that got no answer arrived.
    """

    reason: str
    delay_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider will never accept this push; the token may be valid all the same."""

    reason: str


@dataclass(frozen=True, slots=True)
class CredentialsRefused:
    """The provider refused the credentials of this deployment, at least for this token; an operator must mend it."""

    reason: str


Outcome = Accepted | TokenGone | RetryLater | Rejected | CredentialsRefused

AnyToken = TypeVar("AnyToken", bound=PushToken, contravariant=True)


class PushProvider(Protocol[AnyToken]):
    """A provider that delivers pushes to devices with one kind of token."""

    async def check(self) -> None:
        """Raise ConfigurationError if the provider refuses the credentials. A provider that does not answer is logged.

        A service calls it once, at its start.
        """

    async def send(self, token: AnyToken, push: Push) -> Outcome:
        """Send a push and return its outcome. Reasons contain no text of users, and no secret.

        A provider sends it twice only if it refused the credentials and new ones were made. Each request ends within
        the time-outs of the client; there are up to four, those for credentials included.
        """


def _check_bounds(collapse_id: str, lifetime_s: int) -> None:
    if not 1 <= len(collapse_id.encode()) <= COLLAPSE_ID_BYTES:
        raise ValueError(f"a collapse id must have 1 to {COLLAPSE_ID_BYTES} bytes")
    if not 0 <= lifetime_s <= MAX_LIFETIME_S:
        raise ValueError(f"the lifetime of a push must be 0 to {MAX_LIFETIME_S} seconds")
