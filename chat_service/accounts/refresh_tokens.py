"""Refresh token rotation: a token is valid until its successor is used; the reuse of an older one reveals theft.

A sign-in starts a chain. Every token of a chain carries its family, a secret of that sign-in. A token of the family
that is neither the newest nor the previous one must have been rotated out; older tokens need not be stored. A forged
token, which has the ids of a user and a device but not the family, does not sign the device out. Only hashes are
stored.

The successor of a token is computed from the token and a stored random nonce. For GRACE_MS after a rotation the same
token therefore gets the same successor: two concurrent refreshes, or a repeat after a lost response, both return the
valid token. After GRACE_MS it gets a new successor, and the unused one becomes invalid. Without this bound a thief
with a copy of one token could obtain every later token of the device undetected.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, replace
from hashlib import sha256
from hmac import compare_digest, digest

from chat_service.accounts.errors import RefreshTokenInvalid

GRACE_MS = 60_000

_ID = 16
_FAMILY = 16
_SECRET = 32
_LENGTH = 2 * _ID + _FAMILY + _SECRET


class RefreshTokenReused(RefreshTokenInvalid):
    """The token is older than the previous one of its chain: another holder has used a copy."""


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token: user, device, the family of the sign-in (16 bytes) and the secret of the token (32 bytes)."""

    user_id: str
    device_id: str
    family: bytes
    secret: bytes

    @classmethod
    def parse(cls, text: str) -> RefreshToken:
        """Return the token in `text`. Raise RefreshTokenInvalid."""
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            raw = b""
        if len(raw) != _LENGTH:
            raise RefreshTokenInvalid("the refresh token is malformed")
        family, secret = raw[2 * _ID : -_SECRET], raw[-_SECRET:]
        return cls(raw[:_ID].hex(), raw[_ID : 2 * _ID].hex(), family, secret)

    def __str__(self) -> str:
        raw = bytes.fromhex(self.user_id) + bytes.fromhex(self.device_id) + self.family + self.secret
        return urlsafe_b64encode(raw).decode().rstrip("=")

    def __repr__(self) -> str:
        return f"RefreshToken(user_id={self.user_id!r}, device_id={self.device_id!r})"

    @property
    def sign_in(self) -> str:
        """Return the id of the sign-in, as `sign_in_id` computes it from the stored chain."""
        return sign_in_id(_hash(self.family))

    def successor(self, nonce: bytes) -> RefreshToken:
        """Return the token that replaces this one."""
        return replace(self, secret=digest(nonce, self.secret, "sha256"))


@dataclass(frozen=True, slots=True)
class RefreshChain:
    """The stored state of a sign-in's tokens: hashes of the family, the newest token and the previous one.

    `previous` is empty before the first rotation. `rotated_ms` is the time of the last, in milliseconds since 1970.
    """

    family: bytes
    newest: bytes
    previous: bytes = b""
    nonce: bytes = b""
    rotated_ms: int = 0

    @classmethod
    def start(cls, user_id: str, device_id: str) -> tuple[RefreshChain, RefreshToken]:
        """Return a new chain and its first token."""
        family, secret = secrets.token_bytes(_FAMILY), secrets.token_bytes(_SECRET)
        return cls(_hash(family), _hash(secret)), RefreshToken(user_id, device_id, family, secret)

    def rotate(self, token: RefreshToken, now_ms: int) -> tuple[RefreshChain, RefreshToken]:
        """Return the chain after a refresh with `token`, and the token to return; the same chain if it is unchanged.

        Raise RefreshTokenReused for a token older than the previous one, RefreshTokenInvalid for another chain's.
        """
        if not compare_digest(_hash(token.family), self.family):
            raise RefreshTokenInvalid("the refresh token belongs to another sign-in")
        presented = _hash(token.secret)
        if compare_digest(presented, self.newest):
            return self._advance(token, now_ms)
        if not compare_digest(presented, self.previous):
            raise RefreshTokenReused("the refresh token was rotated out")
        if now_ms - self.rotated_ms < GRACE_MS:
            return self, token.successor(self.nonce)
        return self._advance(token, now_ms)

    def _advance(self, token: RefreshToken, now_ms: int) -> tuple[RefreshChain, RefreshToken]:
        nonce = secrets.token_bytes(_SECRET)
        successor = token.successor(nonce)
        return RefreshChain(self.family, _hash(successor.secret), _hash(token.secret), nonce, now_ms), successor


def _hash(secret: bytes) -> bytes:
    # A fast hash suffices: the secrets are long and random.
    return sha256(secret).digest()


def sign_in_id(family: bytes) -> str:
    """Return the id of a sign-in from the stored hash of its family, which it does not reveal."""
    return family[:16].hex()
