"""Presence: which users of a home are online, and which sessions are notified when that changes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from servicekit.clock import Clock, Timer

# A user who reconnects within this time is not reported as offline.
DEBOUNCE_S: Final = 3.0

NotifySessions = Callable[[str, list[str], str, bool], None]
"""Notifies sessions (an edge and session ids) that a user is online or offline."""


class PresenceTracker:
    """The presence of a home's users and its watchers.

    `notify` is called at once when a user comes online, and DEBOUNCE_S after the user's last session ended.
    """

    def __init__(self, notify: NotifySessions, clock: Clock) -> None:
        self._notify = notify
        self._clock = clock
        self._online: set[str] = set()
        # By user id: the edge of each watching session, by session id.
        self._watchers: dict[str, dict[str, str]] = {}
        # By session id: the users that the session watches.
        self._watched_users: dict[str, set[str]] = {}
        self._offline_timers: dict[str, Timer] = {}
        # Watchers of users who moved to another home. A user may move back before the watchers notice.
        self._forgotten_watchers: dict[str, dict[str, str]] = {}

    def watch(self, edge: str, session_id: str, user_ids: Collection[str]) -> list[str]:
        """Subscribe a session to exactly these users, and return those who are online."""
        self.unwatch(session_id)
        if user_ids:
            self._watched_users[session_id] = set(user_ids)
        for user_id in user_ids:
            self._watchers.setdefault(user_id, {})[session_id] = edge
        return [user_id for user_id in user_ids if user_id in self._online]

    def unwatch(self, session_id: str) -> None:
        """End the subscription of a session."""
        for user_id in self._watched_users.pop(session_id, ()):
            watchers = self._watchers[user_id]
            del watchers[session_id]
            if not watchers:
                del self._watchers[user_id]

    def unwatch_edge(self, edge: str) -> None:
        """End the subscriptions of all sessions of an edge; the edge subscribes its live sessions again."""
        session_ids = {
            session_id
            for watchers in self._watchers.values()
            for session_id, watcher_edge in watchers.items()
            if watcher_edge == edge
        }
        for session_id in session_ids:
            self.unwatch(session_id)

    def user_connected(self, user_id: str) -> None:
        """Record that the user has a session, and notify the watchers if the user was offline."""
        if (offline_timer := self._offline_timers.pop(user_id, None)) is not None:
            offline_timer.cancel()
        if user_id not in self._online:
            self._online.add(user_id)
            self._notify_watchers(user_id, True)

    def user_disconnected(self, user_id: str) -> None:
        """Record that the last session of the user ended; the user is offline after DEBOUNCE_S without a session."""
        if user_id in self._online and user_id not in self._offline_timers:
            self._offline_timers[user_id] = self._clock.call_later(DEBOUNCE_S, partial(self._set_offline, user_id))

    def forget_moved(self, has_moved: Callable[[str], bool]) -> None:
        """Drop the users whose home is another server now; their watchers subscribe at the new home."""
        for user_id in [user_id for user_id in self._online | self._watchers.keys() if has_moved(user_id)]:
            self._forget_user(user_id)

    def watchers_to_resubscribe(self, has_moved: Callable[[str], bool]) -> dict[str, set[str]]:
        """Return and clear the dropped watchers of users who moved back to this home: session ids by edge."""
        edges: dict[str, set[str]] = {}
        for user_id, watchers in self._forgotten_watchers.items():
            for session_id, edge in () if has_moved(user_id) else watchers.items():
                edges.setdefault(edge, set()).add(session_id)
        self._forgotten_watchers.clear()
        return edges

    def _forget_user(self, user_id: str) -> None:
        if (offline_timer := self._offline_timers.pop(user_id, None)) is not None:
            offline_timer.cancel()
        self._online.discard(user_id)
        watchers = self._watchers.pop(user_id, {})
        for session_id in watchers:
            watched = self._watched_users[session_id]
            watched.discard(user_id)
            if not watched:
                del self._watched_users[session_id]
        if watchers:
            self._forgotten_watchers.setdefault(user_id, {}).update(watchers)

    def _set_offline(self, user_id: str) -> None:
        del self._offline_timers[user_id]
        self._online.discard(user_id)
        self._notify_watchers(user_id, False)

    def _notify_watchers(self, user_id: str, online: bool) -> None:
        edges: dict[str, list[str]] = {}
        for session_id, edge in self._watchers.get(user_id, {}).items():
            edges.setdefault(edge, []).append(session_id)
        for edge, session_ids in edges.items():
            self._notify(edge, session_ids, user_id, online)
