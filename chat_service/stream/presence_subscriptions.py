"""Whose presence sessions are told: each home is asked for its users, again whenever a home is another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from chat_service.errors import OwnerUnavailable, StoreUnavailable
from chat_service.stream.ports import Homes
from chat_service.stream.session import StreamSession
from servicekit.tasks import cancel_requested

ANSWER_S: Final = 2.0
PAUSE_S: Final = 0.5
# After a change of the ring devices attach to their new homes within this; until then nobody is told they went.
ATTACHED_S: Final = 5.0


FindHidden = Callable[[str, Collection[str]], Awaitable[set[str]]]


class PresenceSubscriptions:
    """What sessions watch, kept true at the homes of whom they watch."""

    def __init__(self, homes: Homes, who_hides: FindHidden) -> None:
        self._homes = homes
        self._who_hides = who_hides
        self._stale: dict[str, StreamSession] = {}
        self._wake = asyncio.Event()

    async def watch(self, session: StreamSession, user_ids: Collection[str]) -> dict[str, bool]:
        """From now on the session is told about these users; who of them is online. Those who hide are left out."""
        hidden = await self._who_hides(session.claims.user_id, user_ids)
        session.watched = dict.fromkeys(each for each in user_ids if each not in hidden)
        if not await self._subscribe_at_homes(session):
            self._mark_stale(session)
        # Who cannot be asked about now counts as away until a home says otherwise.
        known = {user_id: bool(online) for user_id, online in session.watched.items()}
        session.watched.update(known)
        return known

    def on_ring_changed(self, sessions: Collection[StreamSession]) -> None:
        """Ask the new homes at once, and once more when their users have attached there."""
        for session in sessions:
            if session.watched:
                self._mark_stale(session)
                session.call_later(ATTACHED_S, lambda each=session: self._mark_stale(each))  # type: ignore[misc]

    def on_home_lost(self, server_id: str, sessions: Collection[StreamSession]) -> None:
        """The link to a home broke: it has forgotten who watches."""
        self.on_ring_changed([session for session in sessions if server_id in session.watched_homes])

    def recheck_hidden(self, session: StreamSession) -> None:
        """Who hides may be another."""
        if session.watched:
            self._mark_stale(session)

    def remove(self, session: StreamSession) -> None:
        """The session ended."""
        self._stale.pop(session.session_id, None)
        for home in session.watched_homes:
            self._homes.unwatch(home, session.session_id)

    async def run(self) -> None:
        """Ask again where it is needed, until cancelled."""
        while not cancel_requested():
            await self._wake.wait()
            self._wake.clear()
            for session_id, session in list(self._stale.items()):
                if self._stale.pop(session_id, None) is None:
                    # It ended while another one was looked after.
                    continue
                if not await self._resubscribe(session) and not session.outbox.closed:
                    self._mark_stale(session)
                    await asyncio.sleep(PAUSE_S)

    def _mark_stale(self, session: StreamSession) -> None:
        self._stale[session.session_id] = session
        self._wake.set()

    async def _resubscribe(self, session: StreamSession) -> bool:
        """The same, without those who hide by now: they went, as far as the session is told."""
        try:
            hidden = await self._who_hides(session.claims.user_id, list(session.watched))
        except StoreUnavailable:
            return False
        for user_id in hidden:
            session.update_presence(user_id, False)
            session.watched.pop(user_id, None)
        return await self._subscribe_at_homes(session)

    async def _subscribe_at_homes(self, session: StreamSession) -> bool:
        """Whether every home could be asked; the session learns who came, and who went if that is sure."""
        homes: dict[str, list[str]] = {}
        for user_id in session.watched:
            homes.setdefault(self._homes.home_of(user_id), []).append(user_id)
        for home in session.watched_homes - homes.keys():
            self._homes.unwatch(home, session.session_id)
        session.watched_homes = set(homes)
        answers = [await self._subscribe_at(home, session, users) for home, users in homes.items()]
        if session.outbox.closed:
            # It may have ended meanwhile, and been forgotten before it was registered.
            self.remove(session)
        return all(answers)

    async def _subscribe_at(self, home: str, session: StreamSession, user_ids: list[str]) -> bool:
        try:
            async with asyncio.timeout(ANSWER_S):
                online = set(await self._homes.watch(home, session.session_id, user_ids))
        except (OwnerUnavailable, TimeoutError):
            return False
        for user_id in user_ids:
            session.update_presence(user_id, user_id in online)
        return True
