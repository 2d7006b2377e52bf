"""Keeping sessions attached to the homes of their users, whichever servers these are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from chat_service.errors import StoreUnavailable
from chat_service.stream.ports import Homes
from chat_service.stream.session import StreamSession
from servicekit.clock import Clock
from servicekit.tasks import cancel_requested

# While the store does not answer, each of them waits ANSWER_S for it.
AT_ONCE: Final = 64
PAUSE_S: Final = 0.2
FIRST_TRIES: Final = 5
ANSWER_S: Final = 2.0

log = structlog.get_logger("stream.attaching")


MayStay = Callable[[StreamSession], Awaitable[bool]]
"""Whether a session's device is still signed in; if not, the session is closed. Raises StoreUnavailable."""


class HomeRegistrar:
    """Attaches what is not attached, AT_ONCE at a time; whoever is attached anew looks again for what it missed."""

    def __init__(self, homes: Homes, may_stay: MayStay, clock: Clock) -> None:
        self._homes = homes
        self._may_stay = may_stay
        self._clock = clock
        self._detached: dict[str, StreamSession] = {}
        self._in_progress: set[str] = set()
        self._wake = asyncio.Event()

    async def attach_new(self, session: StreamSession) -> None:
        """Attach a new session; if its home cannot be told soon, that is tried again beside its life."""
        with self._exclusively(session):
            for _ in range(FIRST_TRIES):
                if await self._attach(session, again=False):
                    return
                await self._clock.sleep(PAUSE_S)
            self.mark_detached(session)

    def mark_detached(self, session: StreamSession) -> None:
        """The session must be attached: its home is another, or has forgotten it."""
        self._detached[session.session_id] = session
        self._wake.set()

    def detach(self, session: StreamSession) -> None:
        """The session ended."""
        self._detached.pop(session.session_id, None)
        if session.home:
            self._homes.detach(session.home, session.claims.user_id, session.session_id)

    async def run(self) -> None:
        """Attach what is loose until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._reattach_loop())

    async def _reattach_loop(self) -> None:
        while not cancel_requested():
            session = await self._next_detached()
            if await self._reattach(session):
                session.request_recheck()
            elif not session.outbox.closed:
                self.mark_detached(session)
                await self._clock.sleep(PAUSE_S)

    async def _next_detached(self) -> StreamSession:
        """A loose session that nobody attaches just now."""
        while True:
            for session_id, session in self._detached.items():
                if session_id not in self._in_progress:
                    return session
            self._wake.clear()
            await self._wake.wait()

    async def _reattach(self, session: StreamSession) -> bool:
        """Whether it is attached. Whose device was signed out while no home knew of it is told nothing more."""
        with self._exclusively(session):
            may_stay = await self._is_signed_in(session)
            # It may have ended meanwhile.
            if session.session_id not in self._detached or not may_stay:
                self._detached.pop(session.session_id, None)
                return False
            return await self._attach(session, again=True)

    async def _is_signed_in(self, session: StreamSession) -> bool:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._may_stay(session)
        except (StoreUnavailable, TimeoutError):
            # It is asked again once the session is attached.
            return True
        except Exception:
            log.exception("cannot ask whether a device is signed in", session_id=session.session_id)
            return True

    async def _attach(self, session: StreamSession, *, again: bool) -> bool:
        """Whether the session is attached, and was not loosened meanwhile."""
        self._detached.pop(session.session_id, None)
        attached = await self._attach_to(self._homes.home_of(session.claims.user_id), session, again)
        return attached and session.session_id not in self._detached

    @contextmanager
    def _exclusively(self, session: StreamSession) -> Iterator[None]:
        self._in_progress.add(session.session_id)
        try:
            yield
        finally:
            self._in_progress.discard(session.session_id)
            # It may have been loosened meanwhile.
            self._wake.set()

    async def _attach_to(self, home: str, session: StreamSession, again: bool) -> bool:
        if session.home and session.home != home:
            self._homes.detach(session.home, session.claims.user_id, session.session_id)
        # From now on: should the session end while it is being attached, it must be detached there.
        session.home = home
        try:
            async with asyncio.timeout(ANSWER_S):
                attached = bool(home) and await self._homes.attach(home, session.attached_session, again)
        except TimeoutError:
            attached = False
        if not attached:
            # The question may still be on its way.
            self._homes.detach(home, session.claims.user_id, session.session_id)
            session.home = ""
        return attached
