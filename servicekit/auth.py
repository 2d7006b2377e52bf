"""Who calls: access tokens (ES256 JWTs) of users' devices, and the credential services show each other."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hmac import compare_digest
from pathlib import Path
from typing import Any, NoReturn

import jwt

from servicekit.clock import Clock, SystemClock
from servicekit.config import ConfigurationError, read_file
from servicekit.failure import Failure
from servicekit.keys import generate_signing_key, jwk_of, jwks_of, public_keys, signing_key
from servicekit.subjects import ReadIds, native_ids

__all__ = [
    "Claims",
    "ServiceCredential",
    "TokenSigner",
    "TokenVerifier",
    "generate_signing_key",
    "jwks_of",
]

CREDENTIAL_HEADER = "x-service-credential"
MIN_CREDENTIAL_LENGTH = 16

_NOT_BEFORE_SKEW_S = 60.0
_TOKEN_CACHE_SIZE = 4096


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says: whose it is, of which device, and until when (Unix seconds); names, if it tells any.

    `sign_in` is the sign-in that it came from; empty where another issuer signs.
    """

    user_id: str
    device_id: str
    expires_at: float
    name: str = ""
    preferred_username: str = ""
    sign_in: str = ""


class TokenSigner:
    """Makes access tokens that last `lifetime` seconds. Raises ConfigurationError for an unusable key."""

    def __init__(
        self,
        private_key_pem: bytes,
        *,
        issuer: str,
        audience: str,
        lifetime: float = 600.0,
        clock: Clock | None = None,
    ) -> None:
        self._key = signing_key(private_key_pem)
        self._headers = {"kid": jwk_of(self._key)["kid"]}
        self._static_claims = {"iss": issuer, "aud": audience}
        self._lifetime = lifetime
        self._clock = clock or SystemClock()

    @classmethod
    def from_file(cls, path: Path, **arguments: Any) -> TokenSigner:
        """A signer whose key is in a PEM file. Raises ConfigurationError."""
        return cls(read_file(path, bytes, "a signing key"), **arguments)

    def sign(self, user_id: str, device_id: str, sign_in: str = "") -> tuple[str, float]:
        """A new token and the moment it expires (Unix seconds); `sign_in` tells it from those of earlier sign-ins."""
        now = self._clock.now_ms() / 1000
        # A NumericDate of whole seconds: some readers of the token take no other.
        expires_at = int(now + self._lifetime)
        claims = {
            **self._static_claims,
            "sub": user_id,
            "did": device_id,
            "iat": int(now),
            "exp": expires_at,
            "jti": secrets.token_hex(16),
            **({"sign_in": sign_in} if sign_in else {}),
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers=self._headers), float(expires_at)


class TokenVerifier:
    """Checks access tokens against a JWKS. Raises ConfigurationError for keys it cannot use."""

    def __init__(
        self,
        jwks: Mapping[str, Any],
        *,
        issuer: str,
        audience: str,
        read_ids: ReadIds = native_ids,
        clock: Clock | None = None,
    ) -> None:
        self._keys = public_keys(jwks)
        self._read_ids = read_ids
        self._issuer = issuer
        self._audience = audience
        self._clock = clock or SystemClock()
        # A unary caller shows the same token with every call, and a signature costs as much as a call.
        self._cached_claims = lru_cache(maxsize=_TOKEN_CACHE_SIZE)(self._verify_signed_claims)

    @classmethod
    def from_file(cls, path: Path, **arguments: Any) -> TokenVerifier:
        """A verifier of the keys in a JWKS file. Raises ConfigurationError."""
        return cls(read_file(path, _parse_json_object, "a JWKS"), **arguments)

    def verify(self, token: str) -> Claims:
        """What `token` says. Raises Failure TOKEN_INVALID, TOKEN_EXPIRED or TOKEN_WRONG_AUDIENCE."""
        expires_at, not_before, claims = self._cached_claims(token)
        now = self._clock.now_ms() / 1000
        if now >= expires_at:
            _raise_unauthenticated("TOKEN_EXPIRED", "the access token has expired; refresh it")
        if now < not_before - _NOT_BEFORE_SKEW_S:
            _raise_unauthenticated("TOKEN_INVALID", "the access token is not good yet")
        return claims

    def authenticate(self, metadata: Mapping[str, str]) -> Claims:
        """Who made a call with this metadata. Raises as `verify`, and TOKEN_MISSING."""
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            _raise_unauthenticated("TOKEN_MISSING", "the call carries no bearer token")
        return self.verify(token.strip())

    def _verify_signed_claims(self, token: str) -> tuple[float, float, Claims]:
        payload = self._decode_verified(token)
        user_id, device_id = self._read_ids(payload)
        try:
            expires_at, not_before = float(payload["exp"]), float(payload.get("nbf", 0))
        except (TypeError, ValueError):
            _raise_unauthenticated("TOKEN_INVALID", "the times of the access token are no numbers")
        names = (payload.get(claim) for claim in ("name", "preferred_username", "sign_in"))
        told = [name if isinstance(name, str) else "" for name in names]
        return expires_at, not_before, Claims(user_id, device_id, expires_at, *told)

    def _decode_verified(self, token: str) -> dict[str, Any]:
        try:
            key = self._keys[str(jwt.get_unverified_header(token).get("kid", ""))]
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                # Times are told by our clock, and anew for a token already known.
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "require": ["exp", "sub"],
                },
            )
        except jwt.InvalidAudienceError:
            _raise_unauthenticated("TOKEN_WRONG_AUDIENCE", "the access token is for another audience")
        except (jwt.InvalidTokenError, KeyError):
            _raise_unauthenticated("TOKEN_INVALID", "the access token is not one of ours")


class ServiceCredential:
    """The secret services show each other: the first is sent and any is accepted, so that it can rotate."""

    def __init__(self, *secrets: str) -> None:
        if not secrets:
            raise ConfigurationError("A service credential has at least one line.")
        for secret in secrets:
            if len(secret) < MIN_CREDENTIAL_LENGTH or not (secret.isascii() and secret.isprintable()):
                raise ConfigurationError(
                    f"A service credential is {MIN_CREDENTIAL_LENGTH} or more printable ASCII characters."
                )
        self._secrets = tuple(secret.encode() for secret in secrets)
        self._metadata = ((CREDENTIAL_HEADER, secrets[0]),)

    @classmethod
    def from_file(cls, path: Path) -> ServiceCredential:
        """The credential in a file of one or more lines. Raises ConfigurationError."""
        text = read_file(path, bytes.decode, "a service credential")
        return cls(*(line.strip() for line in text.splitlines() if line.strip()))

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a client inside the system sends with its calls."""
        return self._metadata

    def check(self, metadata: Mapping[str, str]) -> None:
        """Raises Failure UNAUTHENTICATED unless the metadata carries one of the secrets."""
        shown = metadata.get(CREDENTIAL_HEADER)
        if shown is None:
            _raise_unauthenticated("TOKEN_MISSING", "the call carries no service credential")
        # Every secret is compared, so that time tells nothing.
        matches = [compare_digest(shown.encode(), secret) for secret in self._secrets]
        if not any(matches):
            _raise_unauthenticated("TOKEN_INVALID", "the service credential is not ours")


def _parse_json_object(data: bytes) -> dict[str, Any]:
    loaded = json.loads(data)
    if not isinstance(loaded, dict):
        raise ValueError("not a JSON object")
    return loaded


def _raise_unauthenticated(reason: str, message: str) -> NoReturn:
    raise Failure(message, code="UNAUTHENTICATED", reason=reason)
