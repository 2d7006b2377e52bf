"""Who of a home's users is online, and who wants to know: watchers are told of transitions alone."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from servicekit.clock import Clock, Timer

# A device that comes back within this was never gone, for those who watch.
DEBOUNCE_S: Final = 3.0

NotifySessions = Callable[[str, list[str], str, bool], None]
"""Tells sessions (of an edge, by id) that a user is online, or not."""


class PresenceTracker:
    """The users at home here: `tell` is called at once when one comes, and DEBOUNCE_S after the last device went."""

    def __init__(self, tell: NotifySessions, clock: Clock) -> None:
        self._notify = tell
        self._clock = clock
        self._online: set[str] = set()
        # By user: who watches, session id to edge.
        self._watchers: dict[str, dict[str, str]] = {}
        self._watched: dict[str, set[str]] = {}
        self._debouncing: dict[str, Timer] = {}
        # Watchers of users whose home was another server, until it is clear whether it still is.
        self._forgotten_watchers: dict[str, dict[str, str]] = {}

    def watch(self, edge: str, session_id: str, user_ids: Collection[str]) -> list[str]:
        """From now on the session is told about these users and no others; those of them who are online now."""
        self.unwatch(session_id)
        if user_ids:
            self._watched[session_id] = set(user_ids)
        for user_id in user_ids:
            self._watchers.setdefault(user_id, {})[session_id] = edge
        return [user_id for user_id in user_ids if user_id in self._online]

    def unwatch(self, session_id: str) -> None:
        """The session is told nothing any more."""
        for user_id in self._watched.pop(session_id, ()):
            watchers = self._watchers[user_id]
            del watchers[session_id]
            if not watchers:
                del self._watchers[user_id]

    def unwatch_edge(self, edge: str) -> None:
        """The sessions of an edge are told nothing any more; it asks anew for those that live."""
        watching = {session for watchers in self._watchers.values() for session, at in watchers.items() if at == edge}
        for session_id in watching:
            self.unwatch(session_id)

    def user_connected(self, user_id: str) -> None:
        """A device of the user is there."""
        if (leaving := self._debouncing.pop(user_id, None)) is not None:
            leaving.cancel()
        if user_id not in self._online:
            self._online.add(user_id)
            self._notify_watchers(user_id, True)

    def user_disconnected(self, user_id: str) -> None:
        """The last device of the user is gone."""
        if user_id in self._online and user_id not in self._debouncing:
            self._debouncing[user_id] = self._clock.call_later(DEBOUNCE_S, partial(self._set_offline, user_id))

    def forget_moved(self, moved: Callable[[str], bool]) -> None:
        """Another server is home to some users now; those who watch them ask there."""
        for user_id in [each for each in self._online | self._watchers.keys() if moved(each)]:
            self._forget_user(user_id)

    def watchers_to_resubscribe(self, moved: Callable[[str], bool]) -> dict[str, set[str]]:
        """By edge, the sessions that watched users whose home is this server again; asked once, all is forgotten."""
        edges: dict[str, set[str]] = {}
        for user_id, watchers in self._forgotten_watchers.items():
            for session_id, edge in () if moved(user_id) else watchers.items():
                edges.setdefault(edge, set()).add(session_id)
        self._forgotten_watchers.clear()
        return edges

    def _forget_user(self, user_id: str) -> None:
        if (leaving := self._debouncing.pop(user_id, None)) is not None:
            leaving.cancel()
        self._online.discard(user_id)
        watchers = self._watchers.pop(user_id, {})
        for session_id in watchers:
            watched = self._watched[session_id]
            watched.discard(user_id)
            if not watched:
                del self._watched[session_id]
        if watchers:
            self._forgotten_watchers.setdefault(user_id, {}).update(watchers)

    def _set_offline(self, user_id: str) -> None:
        del self._debouncing[user_id]
        self._online.discard(user_id)
        self._notify_watchers(user_id, False)

    def _notify_watchers(self, user_id: str, online: bool) -> None:
        edges: dict[str, list[str]] = {}
        for session_id, edge in self._watchers.get(user_id, {}).items():
            edges.setdefault(edge, []).append(session_id)
        for edge, session_ids in edges.items():
            self._notify(edge, session_ids, user_id, online)
