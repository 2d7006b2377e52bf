"""Refresh tokens: each is good until the one that replaced it was used, and an older one tells of a thief.

A sign-in starts a chain. Every token of a chain carries its family, a secret of that sign-in, so a token that is
neither the newest nor the one before is known to have been ours once, with nothing kept of it; a forged one, which
knows users and devices but no family, ends nothing. Only hashes are stored.

The successor of a token is computed from the token itself and a stored random nonce. For GRACE_MS after a rotation
the same token therefore gets the same successor: of two refreshes at once, or of an answer lost and asked for again,
both hold the token that is good. Afterwards it gets a new one, and the one that was never used is dead; without this
bound a thief who follows would get every token the device gets, unseen for ever.
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
    """The token was ours and was replaced more than once since: somebody holds a copy."""


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What a device holds: whose it is, the family of its sign-in (16 bytes) and its own secret (32 bytes)."""

    user_id: str
    device_id: str
    family: bytes
    secret: bytes

    @classmethod
    def parse(cls, text: str) -> RefreshToken:
        """The token in `text`. Raises RefreshTokenInvalid."""
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            raw = b""
        if len(raw) != _LENGTH:
            raise RefreshTokenInvalid("not a refresh token of ours")
        family, secret = raw[2 * _ID : -_SECRET], raw[-_SECRET:]
        return cls(raw[:_ID].hex(), raw[_ID : 2 * _ID].hex(), family, secret)

    def __str__(self) -> str:
        raw = bytes.fromhex(self.user_id) + bytes.fromhex(self.device_id) + self.family + self.secret
        return urlsafe_b64encode(raw).decode().rstrip("=")

    def __repr__(self) -> str:
        return f"RefreshToken(user_id={self.user_id!r}, device_id={self.device_id!r})"

    @property
    def sign_in(self) -> str:
        """As Chain has it."""
        return sign_in_id(_hashed(self.family))

    def successor(self, nonce: bytes) -> RefreshToken:
        """The token that replaces this one."""
        return replace(self, secret=digest(nonce, self.secret, "sha256"))


@dataclass(frozen=True, slots=True)
class RefreshChain:
    """What is stored of a sign-in's tokens: hashes of the family, the newest and the one before (empty: none)."""

    family: bytes
    newest: bytes
    previous: bytes = b""
    nonce: bytes = b""
    rotated_ms: int = 0

    @classmethod
    def start(cls, user_id: str, device_id: str) -> tuple[RefreshChain, RefreshToken]:
        """A chain and its first token."""
        family, secret = secrets.token_bytes(_FAMILY), secrets.token_bytes(_SECRET)
        return cls(_hashed(family), _hashed(secret)), RefreshToken(user_id, device_id, family, secret)

    def rotate(self, token: RefreshToken, now_ms: int) -> tuple[RefreshChain, RefreshToken]:
        """The chain after `token` was shown (itself when that changed nothing), and the token to answer with.

        Raises RefreshTokenReused for a token older than the one before, RefreshTokenInvalid for one of another chain.
        """
        if not compare_digest(_hashed(token.family), self.family):
            raise RefreshTokenInvalid("the refresh token is of another sign-in")
        shown = _hashed(token.secret)
        if compare_digest(shown, self.newest):
            return self._rotated(token, now_ms)
        if not compare_digest(shown, self.previous):
            raise RefreshTokenReused("the refresh token was used up")
        if now_ms - self.rotated_ms < GRACE_MS:
            return self, token.successor(self.nonce)
        return self._rotated(token, now_ms)

    def _rotated(self, token: RefreshToken, now_ms: int) -> tuple[RefreshChain, RefreshToken]:
        nonce = secrets.token_bytes(_SECRET)
        successor = token.successor(nonce)
        return RefreshChain(self.family, _hashed(successor.secret), _hashed(token.secret), nonce, now_ms), successor


def _hashed(secret: bytes) -> bytes:
    # The secrets are long and random: a fast hash keeps them.
    return sha256(secret).digest()


def sign_in_id(family: bytes) -> str:
    """The name of a sign-in, by what is stored of its family; of no use to who wants to guess the family."""
    return family[:16].hex()
