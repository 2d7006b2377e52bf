"""Keeping sessions attached to the homes of their users, whichever servers these are."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog

from chat_service.home.home import Attachment
from chat_service.stream.session import Session
from servicekit.ending import asked_to_end

AT_ONCE: Final = 16
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

    async def attach(self, home: str, attachment: Attachment) -> bool:
        """Tell the home of a session; whether it knows."""

    def detach(self, home: str, user_id: str, session_id: str) -> None:
        """Tell the home that a session is gone."""


class Attaching:
    """Attaches what is not attached, AT_ONCE at a time; whoever is attached anew looks again for what it missed."""

    def __init__(self, homes: Homes) -> None:
        self._homes = homes
        self._loose: dict[str, Session] = {}
        self._wake = asyncio.Event()

    async def begin(self, session: Session) -> None:
        """Attach a new session; if its home cannot be told soon, that is tried again beside its life."""
        for _ in range(FIRST_TRIES):
            if await self._attach(session):
                return
            await asyncio.sleep(PAUSE_S)
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
            while not self._loose:
                self._wake.clear()
                await self._wake.wait()
            session = self._loose.pop(next(iter(self._loose)))
            if await self._attach(session):
                session.want_recheck()
            elif not session.outbox.closed:
                self._loose[session.session_id] = session
                await asyncio.sleep(PAUSE_S)

    async def _attach(self, session: Session) -> bool:
        home = self._homes.home_of(session.claims.user_id)
        if session.home and session.home != home:
            self._homes.detach(session.home, session.claims.user_id, session.session_id)
            session.home = ""
        try:
            async with asyncio.timeout(ANSWER_S):
                attached = bool(home) and await self._homes.attach(home, session.attachment)
        except TimeoutError:
            attached = False
        session.home = home if attached else ""
        return attached
