"""Admission: a session may stay while its token is valid and its device is signed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from chat_service.accounts.errors import DeviceRevoked
from chat_service.stream.session import StreamSession
from servicekit.auth import Claims
from servicekit.clock import Clock
from servicekit.failure import Failure
from servicekit.open_streams import EXPIRY_GRACE_S

Admit = Callable[[Claims], Awaitable[None]]
"""Checks that a device is signed in. Raises DeviceRevoked, StoreUnavailable."""
Verify = Callable[[str], Claims]
"""Returns the claims of a token. Raises Failure if the token is not valid."""


class Admission:
    """The checks of tokens and devices. A session ends EXPIRY_GRACE_S after its token unless the device renews it."""

    def __init__(self, verify: Verify, admit: Admit, clock: Clock) -> None:
        self._verify = verify
        self._admit = admit
        self._clock = clock

    async def check_signed_in(self, session: StreamSession) -> None:
        """Raise DeviceRevoked if the device is signed out. Raises StoreUnavailable."""
        await self._admit(session.claims)

    async def revalidate(self, session: StreamSession) -> bool:
        """Return True if the device is signed in; otherwise close the session and return False.

        Raises StoreUnavailable.
        """
        try:
            await self._admit(session.claims)
        except DeviceRevoked as revoked:
            session.close(revoked)
            return False
        return True

    async def reauthenticate(self, session: StreamSession, token: str) -> None:
        """Replace the session's token after a check of the device. Raises Failure, DeviceRevoked, StoreUnavailable."""
        claims = self._verify_renewal(session, token)
        await self._admit(claims)
        self._replace_claims(session, claims)

    def replace_token(self, session: StreamSession, token: str) -> None:
        """Replace the session's token. The caller has checked that the device is signed in. Raises Failure."""
        self._replace_claims(session, self._verify_renewal(session, token))

    def schedule_expiry(self, session: StreamSession) -> None:
        """Schedule the end of the session for EXPIRY_GRACE_S after its token expires; a renewal cancels it."""
        claims = session.claims

        def expire() -> None:
            if session.claims is claims:
                session.close(Failure("the token has expired", code="UNAUTHENTICATED", reason="TOKEN_EXPIRED"))

        session.schedule_expiry(claims.expires_at + EXPIRY_GRACE_S - self._clock.now_ms() / 1000, expire)

    def _verify_renewal(self, session: StreamSession, token: str) -> Claims:
        claims = self._verify(token)
        if (claims.user_id, claims.device_id) != (session.claims.user_id, session.claims.device_id):
            raise Failure("the token belongs to another device", code="UNAUTHENTICATED", reason="TOKEN_INVALID")
        return claims

    def _replace_claims(self, session: StreamSession, claims: Claims) -> None:
        session.claims = claims
        self.schedule_expiry(session)
