"""The tokens of a session: given out while they are good, renewed before they end."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace

from parley.chat.v1 import account_pb2
from parley_client.channel import Door
from parley_client.clock import ServerClock
from parley_client.errors import ParleyError, SignedOut, Unauthenticated
from parley_client.session import Session, SessionStore

# Seconds before its end at which a token is renewed, and the share of its life if that is less.
AHEAD = 60.0
SHARE = 0.2


class Tokens:
    """The session in `store`, renewed through `door`."""

    def __init__(self, door: Door, store: SessionStore, clock: ServerClock) -> None:
        self._door = door
        self._store = store
        self._clock = clock
        self._lock = asyncio.Lock()
        self._session = store.load()
        if self._session:
            clock.offset = self._session.clock_offset

    @property
    def signed_in(self) -> Session | None:
        """The session, if there is one."""
        return self._session

    @property
    def session(self) -> Session:
        """The session. Raises Unauthenticated if nobody is signed in."""
        if self._session is None:
            raise Unauthenticated("nobody is signed in", code="UNAUTHENTICATED")
        return self._session

    def keep(self, answer: account_pb2.Session, login_name: str) -> Session:
        """Take over what a sign-in or a renewal answered."""
        issued = _issued_at(answer.access_token)
        if issued is not None:
            self._clock.heard(issued)
        self._session = Session(
            answer.user_id,
            answer.device_id,
            login_name,
            answer.access_token,
            answer.access_token_expire_time.ToMilliseconds() / 1000,
            answer.refresh_token,
            answer.home,
            self._clock.offset,
        )
        self._store.save(self._session)
        return self._session

    def move(self, home: str) -> None:
        """The user lives at another home now."""
        if self._session and home and home != self._session.home:
            self._session = replace(self._session, home=home)

    def forget(self) -> None:
        """Sign out here."""
        self._session = None
        self._store.save(None)

    def renewal_in(self) -> float:
        """Seconds until the token should be renewed; 0 or less: now."""
        left = self.session.access_token_ends - self._clock.now()
        return left - min(AHEAD, SHARE * _lifetime(self.session.access_token, AHEAD / SHARE))

    async def access(self) -> str:
        """A token that is good for a while yet."""
        if self.renewal_in() <= 0:
            await self.renew(self.session.access_token)
        return self.session.access_token

    async def renew(self, stale: str) -> Session:
        """Get another token than `stale`, once for all who ask. Raises SignedOut when the session is over."""
        async with self._lock, self._store.exclusive():
            kept = self._store.load()
            if kept and kept.device_id == self.session.device_id and kept.access_token != stale:
                self._session = kept
            elif self.session.access_token == stale:
                await self._refresh()
            return self.session

    async def _refresh(self) -> None:
        request = account_pb2.RefreshTokenRequest(refresh_token=self.session.refresh_token)
        try:
            answer = await self._door.call(lambda door: door.accounts.RefreshToken, request)
        except Unauthenticated as error:
            raise _signed_out(error) from error
        self.keep(answer.session, self.session.login_name)


def _signed_out(error: ParleyError) -> SignedOut:
    return SignedOut(error.message, code=error.code, reason=error.reason or "REFRESH_TOKEN_INVALID")


def _claims(token: str) -> dict[str, float]:
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError):
        return {}
    return {name: value for name, value in claims.items() if isinstance(value, int | float)}


def _issued_at(token: str) -> float | None:
    """When the server made the token, by its clock: what a device whose clock is wrong learns first."""
    return _claims(token).get("iat")


def _lifetime(token: str, otherwise: float) -> float:
    claims = _claims(token)
    return claims["exp"] - claims["iat"] if {"exp", "iat"} <= claims.keys() else otherwise
