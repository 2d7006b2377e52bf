"""The source of a session's access tokens, which renews them before they expire."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace

from parley.chat.v1 import account_pb2
from parley_client.channel import Channel
from parley_client.clock import ServerClock
from parley_client.errors import ParleyError, SignedOut, Unauthenticated, WrongDoor
from parley_client.session import Session, SessionStore

# A token is renewed 60 s before it expires, or at 80 % of its lifetime if that is later.
RENEWAL_LEAD_S = 60.0
RENEWAL_LEAD_FRACTION = 0.2


class TokenSource:
    """The tokens of the session in `store`, renewed by calls on `channel`."""

    def __init__(self, channel: Channel, store: SessionStore, clock: ServerClock, session: Session | None) -> None:
        self._channel = channel
        self._store = store
        self._clock = clock
        self._lock = asyncio.Lock()
        self._session = session
        # The error that ended the previous session.
        self._end: SignedOut | None = None
        if self._session:
            clock.offset = self._session.clock_offset

    @property
    def session(self) -> Session | None:
        """The session; None: no user is signed in."""
        return self._session

    @property
    def active_session(self) -> Session:
        """The session. Raises SignedOut or Unauthenticated if no user is signed in, WrongDoor for another door's."""
        if self._session is None:
            raise self._end or Unauthenticated("no user is signed in", code="UNAUTHENTICATED")
        if not self._session.belongs_to(self._channel.door):
            raise WrongDoor(str(self._session.bound_door), str(self._channel.door))
        return self._session

    def store_session(self, issued_session: account_pb2.Session, login_name: str) -> Session:
        """Store the session that a sign-in or a renewal returned."""
        issue_time = _issue_time(issued_session.access_token)
        if issue_time is not None:
            self._clock.observe(issue_time)
        self._session = Session(
            issued_session.user_id,
            issued_session.device_id,
            login_name,
            issued_session.access_token,
            issued_session.access_token_expire_time.ToMilliseconds() / 1000,
            issued_session.refresh_token,
            issued_session.home,
            self._clock.offset,
            self._channel.door,
        )
        self._end = None
        self._store.save(self._session)
        return self._session

    def move_session(self) -> Session:
        """Bind the session to the door of the channel. Raises Unauthenticated if no user is signed in."""
        if self._session is not None:
            self._session = replace(self._session, door=self._channel.door)
            self._store.save(self._session)
        return self.active_session

    def set_home(self, home: str) -> None:
        """Set the user's home in the session; an empty `home` is ignored."""
        if self._session and home and home != self._session.home:
            self._session = replace(self._session, home=home)

    def sign_out(self) -> None:
        """Remove the session."""
        self._session = self._end = None
        self._store.save(None)

    async def end_session(self, device_id: str, error: SignedOut) -> None:
        """Forget the session of a device that the server has signed out; `active_session` raises `error` from now on.

        The session of another device, to which the user signed in meanwhile, is kept.
        """
        async with self._lock, self._store.exclusive():
            self._end_session(device_id, error)

    def _end_session(self, device_id: str, error: SignedOut) -> None:
        ended = self._session
        if ended is None or ended.device_id != device_id:
            return
        self._session, self._end = None, error
        stored = self._store.load()
        # Another program may have signed in again with the same store.
        if stored is not None and stored.access_token == ended.access_token:
            self._store.save(None)

    def time_until_renewal(self) -> float:
        """Return the seconds until the token should be renewed; 0 or less: now."""
        remaining = self.active_session.access_token_ends - self._clock.now()
        return remaining - min(
            RENEWAL_LEAD_S,
            RENEWAL_LEAD_FRACTION * _lifetime(self.active_session.access_token, RENEWAL_LEAD_S / RENEWAL_LEAD_FRACTION),
        )

    async def access_token(self) -> str:
        """Return a valid token; renew it first if that is due."""
        if self.time_until_renewal() <= 0:
            await self.renew_token(self.active_session.access_token)
        return self.active_session.access_token

    async def renew_token(self, stale_token: str) -> Session:
        """Replace `stale_token`, once for concurrent callers. Raises SignedOut if the session has ended."""
        async with self._lock, self._store.exclusive():
            stored = self._store.load()
            if stored and stored.device_id == self.active_session.device_id and stored.access_token != stale_token:
                self._session = stored  # another program renewed it
            elif self.active_session.access_token == stale_token:
                await self._call_refresh()
            return self.active_session

    async def _call_refresh(self) -> None:
        request = account_pb2.RefreshTokenRequest(refresh_token=self.active_session.refresh_token)
        try:
            response = await self._channel.call(lambda channel: channel.accounts.RefreshToken, request)
        except Unauthenticated as error:
            signed_out = _signed_out(error)
            self._end_session(self.active_session.device_id, signed_out)
            raise signed_out from error
        self.store_session(response.session, self.active_session.login_name)


def _signed_out(error: ParleyError) -> SignedOut:
    return SignedOut(error.message, code=error.code, reason=error.reason or "REFRESH_TOKEN_INVALID")


def _claims(token: str) -> dict[str, float]:
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError):
        return {}
    return {name: value for name, value in claims.items() if isinstance(value, int | float)}


def _issue_time(token: str) -> float | None:
    """Return the token's issue time by the server's clock: the first sign that the device's clock is wrong."""
    return _claims(token).get("iat")


def _lifetime(token: str, default: float) -> float:
    claims = _claims(token)
    return claims["exp"] - claims["iat"] if {"exp", "iat"} <= claims.keys() else default
