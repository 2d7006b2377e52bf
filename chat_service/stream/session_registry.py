"""The sessions whose streams end at this server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from prometheus_client import Gauge

from chat_service.model.delivery import DeliveredEntry, Delivery
from chat_service.stream.session import StreamSession
from chat_service.wire.entries import with_request_id
from servicekit.failure import Failure

_sessions = Gauge("parley_sessions", "Streams of devices at this edge")


class SessionRegistry:
    """By id; what homes say to them goes through here."""

    def __init__(self) -> None:
        self._sessions: dict[str, StreamSession] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, session: StreamSession) -> None:
        """A session begins."""
        self._sessions[session.session_id] = session
        self._empty.clear()
        _sessions.inc()

    def remove(self, session: StreamSession) -> None:
        """A session ended."""
        del self._sessions[session.session_id]
        _sessions.dec()
        if not self._sessions:
            self._empty.set()

    def get(self, session_id: str) -> StreamSession | None:
        """A session, if it has not ended."""
        return self._sessions.get(session_id)

    async def wait_empty(self) -> None:
        """Wait until there is none."""
        await self._empty.wait()

    def __iter__(self) -> Iterator[StreamSession]:
        return iter(list(self._sessions.values()))

    def __len__(self) -> int:
        return len(self._sessions)

    def deliver(self, session_ids: Sequence[str], delivery: Delivery) -> None:
        """Bring `delivery` to sessions; each entry is put together once for all of them."""
        entries = [_variants(entry) for entry in delivery.entries]
        for session_id in session_ids:
            if (session := self._sessions.get(session_id)) is not None:
                session.deliver(entries, delivery)

    def close_session(self, session_id: str, failure: Failure) -> None:
        """End a session."""
        if (session := self._sessions.get(session_id)) is not None:
            session.close(failure)

    def recheck(self, session_ids: Sequence[str] | None = None) -> None:
        """Have sessions (all, if none are named) look again for what they may have missed."""
        for session_id in list(self._sessions) if session_ids is None else session_ids:
            if (session := self._sessions.get(session_id)) is not None:
                session.request_recheck()


def _variants(entry: DeliveredEntry) -> tuple[bytes, bytes, str]:
    return entry.entry, with_request_id(entry.entry, entry.request_id), entry.actor_id
