"""The home: it records which sessions of its users are connected at which edge, and routes deliveries to them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from opentelemetry.trace import SpanKind
from prometheus_client import Gauge

from chat_service.model.delivery import AttachedSession, DeliveredEntry, Delivery, Foreground, UnpushedEntry
from chat_service.model.spans import message_attributes
from servicekit.clock import Clock, Timer
from servicekit.errors import SessionSuperseded
from servicekit.failure import Failure
from servicekit.tracing import OpenSpan, start_span

# Users whose home is another server by the ring are kept this long, until every edge has learned of the ring.
MOVED_USERS_KEPT_S: Final = 5.0

_attached = Gauge("parley_sessions_attached", "Sessions attached to this home")


class Edges(Protocol):
    """The edges of all servers, this one included. No call waits."""

    def push(self, edge: str, session_ids: Sequence[str], delivery: Delivery) -> None:
        """Send `delivery` to sessions of an edge."""

    def close(self, edge: str, session_id: str, failure: Failure) -> None:
        """End a session with `failure`."""

    def recheck(self, edge: str, session_ids: Sequence[str]) -> None:
        """Make sessions of an edge read again what they may have missed."""


class Pushes(Protocol):
    """The pushes for users who are not in the foreground. No call waits."""

    def offer(self, user_ids: Collection[str], delivery: Delivery) -> None:
        """Take a delivery for users of this home."""

    def hold(self) -> None:
        """Hold deliveries until sessions are attached again."""

    def decide_held(self) -> None:
        """Decide the held deliveries at once."""

    def find_unpushed(self, user_id: str) -> UnpushedEntry | None:
        """Return the last entry that is not pushed because a session of the user was in the foreground."""

    def offer_unheard(self, user_id: str) -> None:
        """Offer again what came while a session of the user that is silent now was taken for in the foreground."""

    def forget_user(self, user_id: str) -> None:
        """Forget that entry, because the user has no session here any more."""


class Home:
    """The connected sessions of the users whose home is this server."""

    def __init__(self, edges: Edges, clock: Clock) -> None:
        self._edges = edges
        self._clock = clock
        # None: the deployment has no notify service.
        self.pushes: Pushes | None = None
        self._users: dict[str, dict[str, AttachedSession]] = {}
        self._forget_timer: Timer | None = None

    @property
    def user_count(self) -> int:
        """The number of users with a connected device."""
        return len(self._users)

    def attach(self, session: AttachedSession, reattach: bool = False) -> None:
        """Add a session, and supersede the other sessions of its device.

        A session that reattaches, because its home changed, may be older than the other one, and so may one that its
        program has given up before it was attached. In that case the newer one stays.
        """
        others = [
            other
            for other in self._users.get(session.user_id, {}).values()
            if other.device_id == session.device_id and other.session_id != session.session_id
        ]
        if any(other.is_newer_than(session, by_time=reattach) for other in others):
            self._supersede(session)
            return
        sessions = self._users.setdefault(session.user_id, {})
        for other in others:
            del sessions[other.session_id]
            _attached.dec()
            self._supersede(other)
        if session.session_id not in sessions:
            _attached.inc()
        sessions[session.session_id] = session

    def _supersede(self, session: AttachedSession) -> None:
        superseded = SessionSuperseded("superseded by a newer stream of this device")
        self._edges.close(session.edge, session.session_id, superseded)

    def detach(self, user_id: str, session_id: str) -> None:
        """Remove a session that ended, if it is attached."""
        sessions = self._users.get(user_id, {})
        if sessions.pop(session_id, None):
            _attached.dec()
        if not sessions and self._users.pop(user_id, None) is not None:
            self._forget_unpushed(user_id)

    def set_activity(self, user_id: str, session_id: str, *, foreground: bool, silent: bool = False) -> None:
        """Note that a session has moved between foreground and background, if it is attached.

        If it is `silent`, its device may not have got what came lately.
        """
        sessions = self._users.get(user_id, {})
        if (session := sessions.get(session_id)) is not None:
            sessions[session_id] = replace(session, foreground=foreground, silent=silent)
            if silent and self.pushes is not None:
                self.pushes.offer_unheard(user_id)

    def is_in_foreground(self, user_id: str) -> bool:
        """Return True if a session of the user is in the foreground."""
        return any(session.foreground for session in self._users.get(user_id, {}).values())

    def describe_foreground(self, user_id: str) -> Foreground:
        """Return the devices of a user in the foreground, in order of id, and the last unpushed entry."""
        devices = {each.device_id for each in self._users.get(user_id, {}).values() if each.foreground}
        unpushed = self.pushes.find_unpushed(user_id) if self.pushes is not None else None
        return Foreground(tuple(sorted(devices)), unpushed)

    def find_session(self, user_id: str, device_id: str) -> AttachedSession | None:
        """Return the session of a device, or None if it has none."""
        sessions = self._users.get(user_id, {}).values()
        return next((session for session in sessions if session.device_id == device_id), None)

    def recheck_user(self, user_id: str) -> None:
        """Make the sessions of a user read again what changed for the user outside the logs."""
        self._recheck_sessions(self._users.get(user_id, {}).values())

    def deliver(self, user_ids: Collection[str], delivery: Delivery) -> None:
        """Send `delivery` to all sessions of these users, with one push per edge, and offer it for pushes."""
        if not delivery.push_only:
            if delivery.traceparents:
                self._send_traced(user_ids, delivery)
            else:
                self._send(user_ids, delivery)
        if self.pushes is not None:
            self.pushes.offer(user_ids, delivery)

    def _send(self, user_ids: Collection[str], delivery: Delivery) -> None:
        edges: dict[str, list[str]] = {}
        for user_id in user_ids:
            for session in self._users.get(user_id, {}).values():
                edges.setdefault(session.edge, []).append(session.session_id)
        for edge, session_ids in edges.items():
            self._edges.push(edge, session_ids, delivery)

    def _send_traced(self, user_ids: Collection[str], delivery: Delivery) -> None:
        """Send a delivery within a span of each of its traced entries."""
        spans = [_start_span(*each) for each in zip(delivery.entries, delivery.traceparents, strict=True)]
        traceparents = tuple(span.traceparent if span is not None else "" for span in spans)
        self._send(user_ids, replace(delivery, traceparents=traceparents if any(traceparents) else ()))
        for span in spans:
            if span is not None:
                span.end({"parley.users": len(user_ids)})

    def close_device_sessions(self, user_id: str, device_id: str, failure: Failure) -> None:
        """End the sessions of a device with `failure`."""
        for session in list(self._users.get(user_id, {}).values()):
            if session.device_id == device_id:
                self._edges.close(session.edge, session.session_id, failure)

    def recheck_all(self) -> None:
        """Make all sessions read again what they may have missed, because deliveries to this home may be lost."""
        self._recheck_sessions(self._all_sessions())

    def _recheck_sessions(self, sessions: Iterable[AttachedSession]) -> None:
        edges: dict[str, list[str]] = {}
        for session in sessions:
            edges.setdefault(session.edge, []).append(session.session_id)
        for edge, session_ids in edges.items():
            self._edges.recheck(edge, session_ids)

    def forget_edge(self, edge: str) -> None:
        """Remove the sessions of an edge; an edge that is alive attaches its own again."""
        for session in [session for session in self._all_sessions() if session.edge == edge]:
            self.detach(session.user_id, session.session_id)

    def on_ring_changed(self, has_moved: Callable[[str], bool]) -> None:
        """Drop the users whose home is another server, MOVED_USERS_KEPT_S after the last change.

        Until then a ring may be replaced by its predecessor: edges that never see it do not attach these users again.
        """
        if self.pushes is not None:
            self.pushes.hold()
        if self._forget_timer is not None:
            self._forget_timer.cancel()
        self._forget_timer = self._clock.call_later(MOVED_USERS_KEPT_S, partial(self.forget_moved_users, has_moved))

    def forget_moved_users(self, has_moved: Callable[[str], bool]) -> None:
        """Drop the users whose home is another server."""
        for user_id in [user_id for user_id in self._users if has_moved(user_id)]:
            _attached.dec(len(self._users.pop(user_id)))
            self._forget_unpushed(user_id)

    def _forget_unpushed(self, user_id: str) -> None:
        if self.pushes is not None:
            self.pushes.forget_user(user_id)

    def has_user(self, user_id: str) -> bool:
        """Return True if a session of the user is attached."""
        return user_id in self._users

    def _all_sessions(self) -> Iterable[AttachedSession]:
        return (session for sessions in self._users.values() for session in sessions.values())


def _start_span(entry: DeliveredEntry, traceparent: str) -> OpenSpan | None:
    if not traceparent:
        return None
    attributes = message_attributes("deliver", entry.request_id)
    return start_span("home deliver", traceparent, kind=SpanKind.CONSUMER, attributes=attributes)
