"""The way from a home to the edges of its sessions: into the role here, or over a link."""

from __future__ import annotations

from collections.abc import Sequence

from chat_service.mesh.links import PeerPool
from chat_service.model.delivery import Delivery
from chat_service.owner.ports import RingView
from chat_service.stream.sessions import SessionRegistry
from chat_service.wire import mesh
from servicekit.failure import Failure


class EdgeRouter:
    """From a home to the edges of its sessions; implements the home's port."""

    def __init__(self, ring: RingView, links: PeerPool, here: SessionRegistry) -> None:
        self._ring = ring
        self._links = links
        self._local = here

    def push(self, edge: str, session_ids: Sequence[str], delivery: Delivery) -> None:
        """Bring `delivery` to sessions of an edge."""
        if edge == self._ring.me.server_id:
            self._local.deliver(session_ids, delivery)
        elif (link := self._links.stream_to(edge)) is not None:
            link.send(mesh.encode_push(session_ids, mesh.encode_delivery(delivery)), delivery.traceparent)

    def close(self, edge: str, session_id: str, failure: Failure) -> None:
        """End a session."""
        if edge == self._ring.me.server_id:
            self._local.close_session(session_id, failure)
        elif (link := self._links.stream_to(edge)) is not None:
            link.send_unbounded(mesh.encode_close_session(session_id, failure))

    def recheck(self, edge: str, session_ids: Sequence[str]) -> None:
        """Have sessions look again for what they may have missed."""
        if edge == self._ring.me.server_id:
            self._local.recheck(session_ids)
        elif (link := self._links.stream_to(edge)) is not None:
            link.send_unbounded(mesh.encode_recheck(session_ids))
