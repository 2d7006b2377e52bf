"""The role of the home: knows which devices of its users are connected, and routes what is for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from prometheus_client import Gauge

from chat_service.errors import SessionSuperseded
from chat_service.home.presence import PresenceTracker
from chat_service.model.delivery import AttachedSession, Delivery, PresenceChange
from servicekit.clock import Clock, Timer
from servicekit.failure import Failure

# How long users are kept whose home is another server by the ring: edges have learned of it by then.
MOVED_USERS_KEPT_S: Final = 5.0

_attached = Gauge("parley_sessions_attached", "Sessions attached to this home")


class Edges(Protocol):
    """The way to edges, this server included; never waits."""

    def push(self, edge: str, session_ids: Sequence[str], delivery: Delivery) -> None:
        """Bring `delivery` to sessions of an edge."""

    def close(self, edge: str, session_id: str, failure: Failure) -> None:
        """End a session."""

    def recheck(self, edge: str, session_ids: Sequence[str]) -> None:
        """Have sessions look again for what they may have missed."""


class Home:
    """The connected sessions of the users that are at home here."""

    def __init__(self, edges: Edges, clock: Clock) -> None:
        self._edges = edges
        self._clock = clock
        self._users: dict[str, dict[str, AttachedSession]] = {}
        self.presence = PresenceTracker(self._push_presence, clock)
        self._forget_timer: Timer | None = None

    def attach(self, attachment: AttachedSession, again: bool = False) -> None:
        """A session is there; another one of the same device is superseded.

        One that attaches `again`, for its home is another now, may be the older one itself: ids tell.
        """
        others = [
            each
            for each in self._users.get(attachment.user_id, {}).values()
            if each.device_id == attachment.device_id and each.session_id != attachment.session_id
        ]
        if again and any(other.session_id > attachment.session_id for other in others):
            self._supersede(attachment)
            return
        sessions = self._users.setdefault(attachment.user_id, {})
        for other in others:
            del sessions[other.session_id]
            _attached.dec()
            self.presence.unwatch(other.session_id)
            self._supersede(other)
        if attachment.session_id not in sessions:
            _attached.inc()
        sessions[attachment.session_id] = attachment
        self.presence.user_connected(attachment.user_id)

    def _supersede(self, attachment: AttachedSession) -> None:
        newer = SessionSuperseded("a newer stream took over")
        self._edges.close(attachment.edge, attachment.session_id, newer)

    def detach(self, user_id: str, session_id: str) -> None:
        """A session is gone."""
        self.presence.unwatch(session_id)
        sessions = self._users.get(user_id, {})
        if sessions.pop(session_id, None):
            _attached.dec()
        if not sessions:
            self._users.pop(user_id, None)
            self.presence.user_disconnected(user_id)

    def find_session(self, user_id: str, device_id: str) -> AttachedSession | None:
        """The session of a device, if it has one."""
        sessions = self._users.get(user_id, {}).values()
        return next((each for each in sessions if each.device_id == device_id), None)

    def recheck_user(self, user_id: str) -> None:
        """Something beside the logs is another for a user: have its sessions look."""
        self._recheck_sessions(self._users.get(user_id, {}).values())

    def deliver(self, user_ids: Collection[str], delivery: Delivery) -> None:
        """Bring `delivery` to all sessions of these users: one push for each edge."""
        edges: dict[str, list[str]] = {}
        for user_id in user_ids:
            for attachment in self._users.get(user_id, {}).values():
                edges.setdefault(attachment.edge, []).append(attachment.session_id)
        for edge, session_ids in edges.items():
            self._edges.push(edge, session_ids, delivery)

    def close_device_sessions(self, user_id: str, device_id: str, failure: Failure) -> None:
        """End the session of a device."""
        for attachment in list(self._users.get(user_id, {}).values()):
            if attachment.device_id == device_id:
                self._edges.close(attachment.edge, attachment.session_id, failure)

    def recheck_all(self) -> None:
        """What was on its way here may be lost: have every session look again."""
        self._recheck_sessions(self._all_sessions())

    def _recheck_sessions(self, attachments: Iterable[AttachedSession]) -> None:
        edges: dict[str, list[str]] = {}
        for attachment in attachments:
            edges.setdefault(attachment.edge, []).append(attachment.session_id)
        for edge, session_ids in edges.items():
            self._edges.recheck(edge, session_ids)

    def forget_edge(self, edge: str) -> None:
        """Drop what was attached from an edge, and who watches there: it died, or will tell anew."""
        for attachment in [each for each in self._all_sessions() if each.edge == edge]:
            self.detach(attachment.user_id, attachment.session_id)
        self.presence.unwatch_edge(edge)

    def on_ring_changed(self, moved: Callable[[str], bool]) -> None:
        """Who watches users whose home is another server now asks there; of who is at home here again, here.

        The users themselves are dropped KEPT_S after the last change: edges that never see a ring, for it was gone
        again at once, do not attach them anew, and do not ask again for those of their sessions that watched.
        """
        self.presence.forget_moved(moved)
        for user_id in self._users:
            if not moved(user_id):
                self.presence.user_connected(user_id)
        if self._forget_timer is not None:
            self._forget_timer.cancel()
        self._forget_timer = self._clock.call_later(MOVED_USERS_KEPT_S, partial(self.forget_moved_users, moved))

    def forget_moved_users(self, moved: Callable[[str], bool]) -> None:
        """Drop the users whose home is another server."""
        for user_id in [each for each in self._users if moved(each)]:
            _attached.dec(len(self._users.pop(user_id)))
        # An edge that saw the ring late may have attached somebody since.
        self.presence.forget_moved(moved)
        for edge, session_ids in self.presence.watchers_to_resubscribe(moved).items():
            self._edges.recheck(edge, list(session_ids))

    def has_user(self, user_id: str) -> bool:
        """Whether a device of the user is attached."""
        return user_id in self._users

    def _push_presence(self, edge: str, session_ids: list[str], user_id: str, online: bool) -> None:
        self._edges.push(edge, session_ids, Delivery(presence=PresenceChange(user_id, online)))

    def _all_sessions(self) -> Iterable[AttachedSession]:
        return (each for sessions in self._users.values() for each in sessions.values())
