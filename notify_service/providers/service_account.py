"""Service accounts of Google: their file, and the access tokens that Google issues for an assertion they sign.

Source: Google, “Using OAuth 2.0 for Server to Server Applications”
(https://developers.google.com/identity/protocols/oauth2/service-account); RFC 7523.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from notify_service.providers.client import PushAnswer, PushClient
from notify_service.providers.connections import ProviderUnreachable
from servicekit.clock import Clock
from servicekit.config import ConfigurationError, read_file

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
# Google accepts no longer lifetime of an assertion.
ASSERTION_LIFETIME_S: Final = 3600
# A token is renewed this long before its end. After a failure the next attempt is made after RETRY_S.
RENEW_BEFORE_S: Final = 300.0
RETRY_S: Final = 10.0
_GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class AccountRefused(Exception):
    """Google issues no token for the service account; the message is its error code."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The JSON file of a service account. `token_url` is the endpoint that issues access tokens."""

    project_id: str
    email: str
    key_id: str
    private_key: RSAPrivateKey = field(repr=False)
    token_url: str

    @classmethod
    def from_file(cls, path: Path) -> ServiceAccount:
        """Return the account of a JSON file. Raise ConfigurationError if it cannot be used."""
        try:
            return read_file(path, _parse, "the JSON file of a service account")
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error} Create a key in the Firebase console, “Project settings”, “Service accounts”, and name the "
                "file that it downloads."
            ) from None


class AccessTokens:
    """The current access token of a service account, renewed before its end by one request at a time."""

    def __init__(self, client: PushClient, account: ServiceAccount, clock: Clock) -> None:
        self._client = client
        self._account = account
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = ""
        self._expires_at = 0.0
        self._renew_at = 0.0
        # The last failure, which stands until `_retry_at`: requests that wait for a token wait for one attempt.
        self._failure: AccountRefused | ProviderUnreachable | None = None
        self._retry_at = 0.0

    async def current(self) -> str:
        """Return a token that is valid. Raise AccountRefused, and ProviderUnreachable if Google issues none now."""
        # While one request renews the token, the others go on with the present one.
        if self._is_due() and not (self._is_valid() and self._lock.locked()):
            async with self._lock:
                if self._is_due():
                    await self._renew()
        return self._token

    def discard(self, token: str) -> None:
        """Use `token` no more: FCM refused it before its end."""
        if token == self._token:
            self._token = ""

    def _is_valid(self) -> bool:
        return bool(self._token) and self._clock.monotonic() < self._expires_at

    def _is_due(self) -> bool:
        return not self._is_valid() or self._clock.monotonic() >= self._renew_at

    async def _renew(self) -> None:
        """Renew the token. After a failure keep the present token while it is valid, and raise the failure then."""
        if self._failure is None or self._clock.monotonic() >= self._retry_at:
            try:
                self._accept(await self._request())
                self._failure = None
            except (AccountRefused, ProviderUnreachable) as error:
                self._failure, self._retry_at = error, self._clock.monotonic() + RETRY_S
        if self._failure is not None and not self._is_valid():
            raise type(self._failure)(str(self._failure))

    async def _request(self) -> PushAnswer:
        body = urlencode({"grant_type": _GRANT_TYPE, "assertion": self._assertion()}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return await self._client.post(self._account.token_url, headers, body)

    def _accept(self, answer: PushAnswer) -> None:
        document = answer.document()
        token, lifetime_s = document.get("access_token"), document.get("expires_in")
        if answer.status == 200 and isinstance(token, str) and isinstance(lifetime_s, int | float):
            now = self._clock.monotonic()
            self._token, self._expires_at = token, now + lifetime_s
            self._renew_at = now + max(lifetime_s - RENEW_BEFORE_S, lifetime_s / 2)
        elif answer.status in (400, 401, 403):
            raise AccountRefused(_error_code(document) or f"HTTP {answer.status}")
        else:
            raise ProviderUnreachable(f"the token endpoint answered with HTTP {answer.status}")

    def _assertion(self) -> str:
        now_s = self._clock.now_ms() // 1000
        account = self._account
        claims = {
            "iss": account.email,
            "scope": SCOPE,
            "aud": account.token_url,
            "iat": now_s,
            "exp": now_s + ASSERTION_LIFETIME_S,
        }
        return jwt.encode(claims, account.private_key, algorithm="RS256", headers={"kid": account.key_id})


def _error_code(document: dict[str, Any]) -> str:
    """Return the code of an OAuth error, such as `invalid_grant` (RFC 6749, section 5.2)."""
    code = document.get("error")
    return code if isinstance(code, str) and code.isidentifier() else ""


def _parse(data: bytes) -> ServiceAccount:
    document = json.loads(data)
    if not isinstance(document, dict) or document.get("type") != "service_account":
        raise ValueError('it has no "type": "service_account"')
    names = ("project_id", "client_email", "private_key_id", "private_key", "token_uri")
    for name in names:
        if not isinstance(document.get(name), str) or not document[name]:
            raise ValueError(f'it has no "{name}"')
    project_id, email, key_id, pem, token_url = (document[name] for name in names)
    if urlsplit(token_url).scheme != "https":
        raise ValueError('its "token_uri" does not begin with https://')
    return ServiceAccount(project_id, email, key_id, _parse_key(pem), token_url)


def _parse_key(pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError('its "private_key" is not an RSA key in PEM')
    return key
