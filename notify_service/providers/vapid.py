"""Voluntary Application Server Identification for Web Push (RFC 8292): a JWT (ES256) for each push service."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import jwt
from cachetools import LRUCache
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from notify_service.providers.content import base64url
from servicekit.clock import Clock
from servicekit.config import ConfigurationError, read_file
from servicekit.keys import signing_key

# A token may be valid for 24 hours (RFC 8292, section 2). It is used until RENEW_BEFORE_S before its end.
LIFETIME_S: Final = 12 * 3600
RENEW_BEFORE_S: Final = 3600
_ORIGINS: Final = 1024


@dataclass(frozen=True, slots=True)
class VapidKey:
    """The key of this deployment for Web Push, and a contact for the push services: `mailto:` or `https:`."""

    private_key: ec.EllipticCurvePrivateKey = field(repr=False)
    subject: str

    @classmethod
    def from_file(cls, path: Path, subject: str) -> VapidKey:
        """Return the key of a PEM file. Raise ConfigurationError if it or the contact cannot be used."""
        address = urlsplit(subject)
        if not ((address.scheme == "mailto" and "@" in address.path) or (address.scheme == "https" and address.netloc)):
            raise ConfigurationError(
                f"The contact for Web Push, {subject!r}, must be an address that begins with mailto: or https://."
            )
        try:
            return cls(signing_key(read_file(path, bytes, "a key for Web Push")), subject)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"The key for Web Push in {path} cannot be used: {error} "
                "Create one with `openssl ecparam -name prime256v1 -genkey -noout`."
            ) from None

    @property
    def public_key(self) -> bytes:
        """The `applicationServerKey` of browsers: an uncompressed point, 65 bytes."""
        return self.private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


class VapidTokens:
    """The current tokens of a key, one for each origin of a push service."""

    def __init__(self, key: VapidKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock
        self._public_key = base64url(key.public_key)
        # By origin: the token, and its end in Unix seconds.
        self._tokens: LRUCache[str, tuple[str, int]] = LRUCache(_ORIGINS)

    def authorization(self, origin: str) -> str:
        """Return the header Authorization for `https://host[:port]`."""
        now_s = self._clock.now_ms() // 1000
        token, expires_s = self._tokens.get(origin, ("", 0))
        if not RENEW_BEFORE_S < expires_s - now_s <= LIFETIME_S:
            expires_s = now_s + LIFETIME_S
            claims = {"aud": origin, "exp": expires_s, "sub": self._key.subject}
            token = jwt.encode(claims, self._key.private_key, algorithm="ES256")
            self._tokens[origin] = token, expires_s
        return f"vapid t={token}, k={self._public_key}"
