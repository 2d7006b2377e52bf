"""Whether a session may stay: its token is valid, and its device is signed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from chat_service.accounts.errors import DeviceRevoked
from chat_service.stream.session import StreamSession
from servicekit.auth import Claims
from servicekit.clock import Clock
from servicekit.failure import Failure

EXPIRY_GRACE_S: Final = 30.0

Admit = Callable[[Claims], Awaitable[None]]
"""Checks that a device is signed in. Raises DeviceRevoked, StoreUnavailable."""
Verify = Callable[[str], Claims]
"""What a token says. Raises Failure for one that is not valid."""


class Admission:
    """Sessions end EXPIRY_GRACE_S after their token, unless the device brings another one."""

    def __init__(self, verify: Verify, admit: Admit, clock: Clock) -> None:
        self._verify = verify
        self._admit = admit
        self._clock = clock

    async def check_signed_in(self, session: StreamSession) -> None:
        """Raises DeviceRevoked, StoreUnavailable."""
        await self._admit(session.claims)

    async def may_stay(self, session: StreamSession) -> bool:
        """Whether the device is still signed in; if not, the session is closed. Raises StoreUnavailable."""
        try:
            await self._admit(session.claims)
        except DeviceRevoked as signed_out:
            session.close(signed_out)
            return False
        return True

    async def reauthenticate(self, session: StreamSession, token: str) -> None:
        """Go on with another token. Raises Failure, DeviceRevoked, StoreUnavailable."""
        claims = self._renewed(session, token)
        await self._admit(claims)
        self._take_over(session, claims)

    def renew_admitted(self, session: StreamSession, token: str) -> None:
        """The same, where the device was found signed in a moment ago. Raises Failure."""
        self._take_over(session, self._renewed(session, token))

    def schedule_expiry(self, session: StreamSession) -> None:
        """End the session when its token has expired, unless it has another one by then."""
        claims = session.claims

        def expire() -> None:
            if session.claims is claims:
                session.close(Failure("the token has expired", code="UNAUTHENTICATED", reason="TOKEN_EXPIRED"))

        session.schedule_expiry(claims.expires_at + EXPIRY_GRACE_S - self._clock.now_ms() / 1000, expire)

    def _renewed(self, session: StreamSession, token: str) -> Claims:
        claims = self._verify(token)
        if (claims.user_id, claims.device_id) != (session.claims.user_id, session.claims.device_id):
            raise Failure("this token is another device's", code="UNAUTHENTICATED", reason="TOKEN_INVALID")
        return claims

    def _take_over(self, session: StreamSession, claims: Claims) -> None:
        session.claims = claims
        self.schedule_expiry(session)
