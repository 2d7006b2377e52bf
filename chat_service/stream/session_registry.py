"""The registry of the sessions whose streams end at this server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from prometheus_client import Counter, Gauge

from chat_service.model.delivery import DeliveredEntry, Delivery
from chat_service.stream.delivery_sampler import DeliverySampler
from chat_service.stream.session import StreamSession
from chat_service.wire.entries import with_request_id
from servicekit.clock import Clock
from servicekit.failure import Failure

_sessions = Gauge("parley_sessions", "Open streams of devices at this edge")
_deliveries = Counter("parley_session_deliveries", "Deliveries put into the outboxes of sessions, one a session")
_outbox_bytes = Gauge("parley_outbox_bytes", "Bytes in the outboxes of the streams of this edge")


class SessionRegistry:
    """The sessions of this edge, by id. Homes reach sessions through it."""

    def __init__(self, clock: Clock) -> None:
        self._sessions: dict[str, StreamSession] = {}
        self._sampler = DeliverySampler(clock)
        _outbox_bytes.set_function(self._sum_queued_bytes)
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, session: StreamSession) -> None:
        """Add a session that began."""
        self._sessions[session.session_id] = session
        self._empty.clear()
        _sessions.inc()

    def remove(self, session: StreamSession) -> None:
        """Remove a session that ended."""
        del self._sessions[session.session_id]
        _sessions.dec()
        if not self._sessions:
            self._empty.set()

    def get(self, session_id: str) -> StreamSession | None:
        """Return a session, or None if it has ended."""
        return self._sessions.get(session_id)

    async def wait_empty(self) -> None:
        """Wait until no session is left."""
        await self._empty.wait()

    def __iter__(self) -> Iterator[StreamSession]:
        return iter(list(self._sessions.values()))

    def __len__(self) -> int:
        return len(self._sessions)

    def deliver(self, session_ids: Sequence[str], delivery: Delivery) -> None:
        """Put `delivery` into the outboxes of sessions; each entry is encoded once for all of them."""
        _deliveries.inc(len(session_ids))
        if delivery.entries:
            self._sampler.offer(delivery.entries[0].entry)
        entries = [_variants(entry) for entry in delivery.entries]
        for session_id in session_ids:
            if (session := self._sessions.get(session_id)) is not None:
                if delivery.traceparents:
                    session.deliver_traced(entries, delivery)
                else:
                    session.deliver(entries, delivery)

    def close_session(self, session_id: str, failure: Failure) -> None:
        """End a session with `failure`."""
        if (session := self._sessions.get(session_id)) is not None:
            session.close(failure)

    def recheck(self, session_ids: Sequence[str] | None = None) -> None:
        """Make sessions read again what they may have missed; None: all sessions."""
        for session_id in list(self._sessions) if session_ids is None else session_ids:
            if (session := self._sessions.get(session_id)) is not None:
                session.request_recheck()

    def _sum_queued_bytes(self) -> int:
        # Called by the thread that serves metrics: `list` copies the sessions in one step.
        return sum(session.outbox.queued_bytes for session in list(self._sessions.values()))


def _variants(entry: DeliveredEntry) -> tuple[bytes, bytes, str]:
    """Return the entry for other users, the entry for the devices of its actor, and the actor's id."""
    return entry.entry, with_request_id(entry.entry, entry.request_id), entry.actor_id
