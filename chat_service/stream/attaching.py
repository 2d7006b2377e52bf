"""Keeping sessions attached to the homes of their users, whichever servers these are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import structlog

from chat_service.errors import StoreUnavailable
from chat_service.home.home import Attachment
from chat_service.stream.session import Session
from servicekit.clock import Clock
from servicekit.ending import asked_to_end

# While the store does not answer, each of them waits ANSWER_S for it.
AT_ONCE: Final = 64
PAUSE_S: Final = 0.2
FIRST_TRIES: Final = 5
ANSWER_S: Final = 2.0

log = structlog.get_logger("stream.attaching")


class Homes(Protocol):
    """The homes, as far as sessions concern them."""

    def home_of(self, user_id: str) -> str:
        """The id of the server that is home to a user; empty while there is no ring."""

    def address_of(self, user_id: str) -> str:
        """The public address of a user's home; empty while there is no ring."""

    async def attach(self, home: str, attachment: Attachment, again: bool) -> bool:
        """Tell the home of a session, a new one or `again`; whether it knows."""

    def detach(self, home: str, user_id: str, session_id: str) -> None:
        """Tell the home that a session is gone."""


MayStay = Callable[[Session], Awaitable[bool]]
"""Whether a session's device is still signed in; if not, the session is closed. Raises StoreUnavailable."""


class Attaching:
    """Attaches what is not attached, AT_ONCE at a time; whoever is attached anew looks again for what it missed."""

    def __init__(self, homes: Homes, may_stay: MayStay, clock: Clock) -> None:
        self._homes = homes
        self._may_stay = may_stay
        self._clock = clock
        self._loose: dict[str, Session] = {}
        self._under_way: set[str] = set()
        self._wake = asyncio.Event()

    async def begin(self, session: Session) -> None:
        """Attach a new session; if its home cannot be told soon, that is tried again beside its life."""
        with self._nobody_else_attaches(session):
            for _ in range(FIRST_TRIES):
                if await self._attach(session, again=False):
                    return
                await self._clock.sleep(PAUSE_S)
            self.loosen(session)

    def loosen(self, session: Session) -> None:
        """The session must be attached: its home is another, or has forgotten it."""
        self._loose[session.session_id] = session
        self._wake.set()

    def end(self, session: Session) -> None:
        """The session ended."""
        self._loose.pop(session.session_id, None)
        if session.home:
            self._homes.detach(session.home, session.claims.user_id, session.session_id)

    async def run(self) -> None:
        """Attach what is loose until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._attach_the_loose())

    async def _attach_the_loose(self) -> None:
        while not asked_to_end():
            session = await self._next()
            if await self._attach_again(session):
                session.want_recheck()
            elif not session.outbox.closed:
                self.loosen(session)
                await self._clock.sleep(PAUSE_S)

    async def _next(self) -> Session:
        """A loose session that nobody attaches just now."""
        while True:
            for session_id, session in self._loose.items():
                if session_id not in self._under_way:
                    return session
            self._wake.clear()
            await self._wake.wait()

    async def _attach_again(self, session: Session) -> bool:
        """Whether it is attached. Whose device was signed out while no home knew of it is told nothing more."""
        with self._nobody_else_attaches(session):
            may_stay = await self._asked(session)
            # It may have ended meanwhile.
            if session.session_id not in self._loose or not may_stay:
                self._loose.pop(session.session_id, None)
                return False
            return await self._attach(session, again=True)

    async def _asked(self, session: Session) -> bool:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._may_stay(session)
        except (StoreUnavailable, TimeoutError):
            # It is asked again once the session is attached.
            return True
        except Exception:
            log.exception("cannot ask whether a device is signed in", session_id=session.session_id)
            return True

    async def _attach(self, session: Session, *, again: bool) -> bool:
        """Whether the session is attached, and was not loosened meanwhile."""
        self._loose.pop(session.session_id, None)
        attached = await self._tell(self._homes.home_of(session.claims.user_id), session, again)
        return attached and session.session_id not in self._loose

    @contextmanager
    def _nobody_else_attaches(self, session: Session) -> Iterator[None]:
        self._under_way.add(session.session_id)
        try:
            yield
        finally:
            self._under_way.discard(session.session_id)
            # It may have been loosened meanwhile.
            self._wake.set()

    async def _tell(self, home: str, session: Session, again: bool) -> bool:
        if session.home and session.home != home:
            self._homes.detach(session.home, session.claims.user_id, session.session_id)
        # From now on: should the session end while it is being attached, it must be detached there.
        session.home = home
        try:
            async with asyncio.timeout(ANSWER_S):
                attached = bool(home) and await self._homes.attach(home, session.attachment, again)
        except TimeoutError:
            attached = False
        if not attached:
            # The question may still be on its way.
            self._homes.detach(home, session.claims.user_id, session.session_id)
            session.home = ""
        return attached
