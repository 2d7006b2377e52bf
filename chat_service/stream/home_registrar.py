"""The registrar that keeps each session attached to the home of its user, across changes of the ring."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from chat_service.stream.ports import Homes
from chat_service.stream.session import StreamSession
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable
from servicekit.tasks import cancel_requested

# Enough that an unavailable store, for which each attach waits RESPONSE_TIMEOUT_S, does not hold up the rest for long.
MAX_CONCURRENT_ATTACHES: Final = 64
RETRY_INTERVAL_S: Final = 0.2
MAX_INITIAL_TRIES: Final = 5
RESPONSE_TIMEOUT_S: Final = 2.0

log = structlog.get_logger("stream.home_registrar")


Revalidate = Callable[[StreamSession], Awaitable[bool]]
"""Returns True if the session's device is signed in; otherwise closes the session. Raises StoreUnavailable."""


class HomeRegistrar:
    """Attaches detached sessions, MAX_CONCURRENT_ATTACHES at a time; each reattached session is rechecked."""

    def __init__(self, homes: Homes, revalidate: Revalidate, clock: Clock) -> None:
        self._homes = homes
        self._revalidate = revalidate
        self._clock = clock
        self._detached: dict[str, StreamSession] = {}
        self._reserved: set[str] = set()
        self._wake = asyncio.Event()

    async def attach_new(self, session: StreamSession) -> None:
        """Attach a new session. After MAX_INITIAL_TRIES without success `run` continues in the background."""
        with self._reserve(session):
            for _ in range(MAX_INITIAL_TRIES):
                if await self._attach(session, reattach=False):
                    return
                await self._clock.sleep(RETRY_INTERVAL_S)
            self.mark_detached(session)

    def mark_detached(self, session: StreamSession) -> None:
        """Schedule a session to be attached, because its home changed or lost it."""
        self._detached[session.session_id] = session
        self._wake.set()

    def detach(self, session: StreamSession) -> None:
        """Detach a session that ended from its home."""
        self._detached.pop(session.session_id, None)
        if session.home:
            self._homes.detach(session.home, session.claims.user_id, session.session_id)

    async def run(self) -> None:
        """Attach detached sessions until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(MAX_CONCURRENT_ATTACHES):
                group.create_task(self._reattach_loop())

    async def _reattach_loop(self) -> None:
        while not cancel_requested():
            session = await self._next_detached()
            if await self._reattach(session):
                session.request_recheck()
            elif not session.outbox.closed:
                self.mark_detached(session)
                await self._clock.sleep(RETRY_INTERVAL_S)

    async def _next_detached(self) -> StreamSession:
        """Wait for a detached session that no other task is attaching, and return it."""
        while True:
            for session_id, session in self._detached.items():
                if session_id not in self._reserved:
                    return session
            self._wake.clear()
            await self._wake.wait()

    async def _reattach(self, session: StreamSession) -> bool:
        """Return True if the session is attached.

        The device is checked first: if it was signed out while no home knew the session, the session is closed.
        """
        with self._reserve(session):
            signed_in = await self._is_signed_in(session)
            # The session may have ended during the check.
            if session.session_id not in self._detached or not signed_in:
                self._detached.pop(session.session_id, None)
                return False
            return await self._attach(session, reattach=True)

    async def _is_signed_in(self, session: StreamSession) -> bool:
        try:
            async with asyncio.timeout(RESPONSE_TIMEOUT_S):
                return await self._revalidate(session)
        except (StoreUnavailable, TimeoutError):
            # The recheck that follows the attachment checks the device again.
            return True
        except Exception:
            log.exception("sign-in check failed", session_id=session.session_id)
            return True

    async def _attach(self, session: StreamSession, *, reattach: bool) -> bool:
        """Return True if the session is attached and was not marked as detached meanwhile."""
        self._detached.pop(session.session_id, None)
        attached = await self._attach_to(self._homes.home_of(session.claims.user_id), session, reattach)
        return attached and session.session_id not in self._detached

    @contextmanager
    def _reserve(self, session: StreamSession) -> Iterator[None]:
        """Keep other tasks from attaching the session while the context is open."""
        self._reserved.add(session.session_id)
        try:
            yield
        finally:
            self._reserved.discard(session.session_id)
            # The session may have been marked as detached meanwhile.
            self._wake.set()

    async def _attach_to(self, home: str, session: StreamSession, reattach: bool) -> bool:
        if session.home and session.home != home:
            self._homes.detach(session.home, session.claims.user_id, session.session_id)
        # Set before the request: a session that ends during it must be detached from this home.
        session.home = home
        try:
            async with asyncio.timeout(RESPONSE_TIMEOUT_S):
                attached = bool(home) and await self._homes.attach(home, session.attached_session, reattach)
        except TimeoutError:
            attached = False
        if not attached:
            # The request may still reach the home.
            self._homes.detach(home, session.claims.user_id, session.session_id)
            session.home = ""
        return attached
