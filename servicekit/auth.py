"""Authentication: access tokens (ES256 JWTs) of users' devices, and the shared credential of the services."""

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
    """The verified claims of an access token.

    `expires_at` is in Unix seconds. `name` and `preferred_username` are empty if the token does not carry them.
    `sign_in` is the id of the sign-in that issued the token; it is empty for an external issuer.
    """

    user_id: str
    device_id: str
    expires_at: float
    name: str = ""
    preferred_username: str = ""
    sign_in: str = ""


class TokenSigner:
    """A signer of access tokens that are valid for `lifetime` seconds. Raises ConfigurationError for a bad key."""

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
        """Return a signer with the key of a PEM file. Raise ConfigurationError if the key cannot be used."""
        return cls(read_file(path, bytes, "a signing key"), **arguments)

    def sign(self, user_id: str, device_id: str, sign_in: str = "") -> tuple[str, float]:
        """Return a new token and its expiry (Unix seconds). `sign_in` identifies the sign-in that it belongs to."""
        now = self._clock.now_ms() / 1000
        # NumericDate allows fractions, but some JWT libraries accept whole seconds only.
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
    """A verifier of access tokens against a JWKS. Raises ConfigurationError for unusable keys."""

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
        # A client sends the same token with every unary call, and a signature check costs as much as a call.
        self._cached_claims = lru_cache(maxsize=_TOKEN_CACHE_SIZE)(self._verify_signed_claims)

    @classmethod
    def from_file(cls, path: Path, **arguments: Any) -> TokenVerifier:
        """Return a verifier with the keys of a JWKS file. Raise ConfigurationError if they cannot be used."""
        return cls(read_file(path, _parse_json_object, "a JWKS"), **arguments)

    def verify(self, token: str) -> Claims:
        """Return the claims of `token`. Raise Failure TOKEN_INVALID, TOKEN_EXPIRED or TOKEN_WRONG_AUDIENCE."""
        expires_at, not_before, claims = self._cached_claims(token)
        now = self._clock.now_ms() / 1000
        if now >= expires_at:
            _raise_unauthenticated("TOKEN_EXPIRED", "the access token has expired; refresh it")
        if now < not_before - _NOT_BEFORE_SKEW_S:
            _raise_unauthenticated("TOKEN_INVALID", "the access token is not valid yet")
        return claims

    def authenticate(self, metadata: Mapping[str, str]) -> Claims:
        """Return the claims of the bearer token in `metadata`. Raise as `verify` does, and TOKEN_MISSING."""
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
            _raise_unauthenticated("TOKEN_INVALID", "exp and nbf of an access token must be numbers")
        optional = (payload.get(claim) for claim in ("name", "preferred_username", "sign_in"))
        texts = [value if isinstance(value, str) else "" for value in optional]
        return expires_at, not_before, Claims(user_id, device_id, expires_at, *texts)

    def _decode_verified(self, token: str) -> dict[str, Any]:
        try:
            key = self._keys[str(jwt.get_unverified_header(token).get("kid", ""))]
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                # `verify` checks the times on every call, by the injected clock; this result is cached.
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
            _raise_unauthenticated("TOKEN_INVALID", "the access token is not valid")


class ServiceCredential:
    """The shared secrets of the services: the first is sent and any is accepted, so that secrets can be rotated."""

    def __init__(self, *secrets: str) -> None:
        if not secrets:
            raise ConfigurationError("A service credential must have at least one line.")
        for secret in secrets:
            if len(secret) < MIN_CREDENTIAL_LENGTH or not (secret.isascii() and secret.isprintable()):
                raise ConfigurationError(
                    f"A service credential must have {MIN_CREDENTIAL_LENGTH} or more printable ASCII characters."
                )
        self._secrets = tuple(secret.encode() for secret in secrets)
        self._metadata = ((CREDENTIAL_HEADER, secrets[0]),)

    @classmethod
    def from_file(cls, path: Path) -> ServiceCredential:
        """Return the credential of a file, one secret a line. Raise ConfigurationError if it cannot be used."""
        text = read_file(path, bytes.decode, "a service credential")
        return cls(*(line.strip() for line in text.splitlines() if line.strip()))

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata that an internal client sends with its calls."""
        return self._metadata

    def check(self, metadata: Mapping[str, str]) -> None:
        """Raise Failure UNAUTHENTICATED unless the metadata carries one of the secrets."""
        credential = metadata.get(CREDENTIAL_HEADER)
        if credential is None:
            _raise_unauthenticated("TOKEN_MISSING", "the call carries no service credential")
        # Compare with every secret, so that the duration does not reveal which one matched.
        matches = [compare_digest(credential.encode(), secret) for secret in self._secrets]
        if not any(matches):
            _raise_unauthenticated("TOKEN_INVALID", "the service credential is not valid")


def _parse_json_object(data: bytes) -> dict[str, Any]:
    loaded = json.loads(data)
    if not isinstance(loaded, dict):
        raise ValueError("not a JSON object")
    return loaded


def _raise_unauthenticated(reason: str, message: str) -> NoReturn:
    raise Failure(message, code="UNAUTHENTICATED", reason=reason)
