"""The presence subscriptions of sessions at the homes of the watched users, renewed when a home changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from chat_service.errors import OwnerUnavailable
from chat_service.stream.ports import Homes
from chat_service.stream.session import StreamSession
from servicekit.errors import StoreUnavailable
from servicekit.tasks import cancel_requested

RESPONSE_TIMEOUT_S: Final = 2.0
RETRY_INTERVAL_S: Final = 0.5
# Within this time after a ring change devices are attached to their new homes, and subscriptions are renewed.
REATTACH_WINDOW_S: Final = 5.0


FindHidden = Callable[[str, Collection[str]], Awaitable[set[str]]]
"""Returns those of the users whose presence is hidden from a user. Raises StoreUnavailable."""


class PresenceSubscriptions:
    """The subscriptions of the sessions of this edge, one per session and home."""

    def __init__(self, homes: Homes, find_hidden: FindHidden) -> None:
        self._homes = homes
        self._find_hidden = find_hidden
        self._stale: dict[str, StreamSession] = {}
        self._wake = asyncio.Event()

    async def watch(self, session: StreamSession, user_ids: Collection[str]) -> dict[str, bool]:
        """Subscribe a session to exactly these users, and return who is online. Hidden users are left out.

        Raises StoreUnavailable.
        """
        hidden = await self._find_hidden(session.claims.user_id, user_ids)
        session.watched = dict.fromkeys(user_id for user_id in user_ids if user_id not in hidden)
        if not await self._subscribe_at_homes(session):
            self._mark_stale(session)
        # A user whose home cannot be reached counts as offline until the home reports otherwise.
        known = {user_id: bool(online) for user_id, online in session.watched.items()}
        session.watched.update(known)
        return known

    def on_ring_changed(self, sessions: Collection[StreamSession]) -> None:
        """Renew the subscriptions at the new homes now, and again after REATTACH_WINDOW_S."""
        for session in sessions:
            if session.watched:
                self._mark_stale(session)
                session.call_later(REATTACH_WINDOW_S, lambda stale=session: self._mark_stale(stale))  # type: ignore[misc]

    def on_home_lost(self, server_id: str, sessions: Collection[StreamSession]) -> None:
        """Renew the subscriptions at a home whose peer stream ended, because the home has dropped them."""
        self.on_ring_changed([session for session in sessions if server_id in session.watched_homes])

    def recheck_hidden(self, session: StreamSession) -> None:
        """Renew the subscriptions of a session, because the hidden users may have changed."""
        if session.watched:
            self._mark_stale(session)

    def remove(self, session: StreamSession) -> None:
        """End the subscriptions of a session that ended."""
        self._stale.pop(session.session_id, None)
        for home in session.watched_homes:
            self._homes.unwatch(home, session.session_id)

    async def run(self) -> None:
        """Renew stale subscriptions until cancelled."""
        while not cancel_requested():
            await self._wake.wait()
            self._wake.clear()
            for session_id, session in list(self._stale.items()):
                if self._stale.pop(session_id, None) is None:
                    # The session ended while another one was renewed.
                    continue
                if not await self._resubscribe(session) and not session.outbox.closed:
                    self._mark_stale(session)
                    await asyncio.sleep(RETRY_INTERVAL_S)

    def _mark_stale(self, session: StreamSession) -> None:
        self._stale[session.session_id] = session
        self._wake.set()

    async def _resubscribe(self, session: StreamSession) -> bool:
        """Report newly hidden users as offline, and subscribe to the others; return False if that must be retried."""
        try:
            hidden = await self._find_hidden(session.claims.user_id, list(session.watched))
        except StoreUnavailable:
            return False
        for user_id in hidden:
            session.update_presence(user_id, False)
            session.watched.pop(user_id, None)
        return await self._subscribe_at_homes(session)

    async def _subscribe_at_homes(self, session: StreamSession) -> bool:
        """Subscribe to the watched users at their homes; return False if a home could not be reached."""
        homes: dict[str, list[str]] = {}
        for user_id in session.watched:
            homes.setdefault(self._homes.home_of(user_id), []).append(user_id)
        for home in session.watched_homes - homes.keys():
            self._homes.unwatch(home, session.session_id)
        session.watched_homes = set(homes)
        subscribed = [await self._subscribe_at(home, session, user_ids) for home, user_ids in homes.items()]
        if session.outbox.closed:
            # The session may have ended, and been removed, before it was subscribed here.
            self.remove(session)
        return all(subscribed)

    async def _subscribe_at(self, home: str, session: StreamSession, user_ids: list[str]) -> bool:
        try:
            async with asyncio.timeout(RESPONSE_TIMEOUT_S):
                online = set(await self._homes.watch(home, session.session_id, user_ids))
        except (OwnerUnavailable, TimeoutError):
            return False
        for user_id in user_ids:
            session.update_presence(user_id, user_id in online)
        return True
