"""The fan-out from owners to homes, and from homes to edges: to the local role, or over a peer stream."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from chat_service.home.home import Home
from chat_service.mesh.peer_pool import PeerPool
from chat_service.mesh.routing import server_at
from chat_service.model.conversation import Watermark
from chat_service.model.delivery import Delivery
from chat_service.model.entry import Entry
from chat_service.model.ids import user_position
from chat_service.owner.ports import RingView
from chat_service.stream.session_registry import SessionRegistry
from chat_service.wire import entries as wire_entries
from chat_service.wire import frames, mesh
from servicekit.failure import Failure


class FanOut:
    """Publishes to the homes of members; implements the owner's Publisher.

    Each home gets one frame, and the delivery is serialised once for all of them.
    """

    def __init__(self, ring: RingView, peers: PeerPool, local: Home) -> None:
        self._ring = ring
        self._peers = peers
        self._local = local

    def publish(self, users: Collection[str], entries: Sequence[Entry], traceparent: str) -> None:
        """Publish entries of one conversation to the devices of `users`."""
        delivered = tuple(wire_entries.encode_delivery(entry) for entry in entries)
        self._deliver(users, Delivery(entries=delivered, traceparent=traceparent))

    def publish_watermarks(
        self, users: Collection[str], conversation_id: str, watermarks: Mapping[str, Watermark]
    ) -> None:
        """Publish watermarks of members to the devices of `users`."""
        marks = [frames.encode_watermark(conversation_id, user, mark) for user, mark in watermarks.items()]
        self._deliver(users, Delivery(watermarks=tuple(mark.SerializeToString() for mark in marks)))

    def publish_typing(self, users: Collection[str], conversation_id: str, user_id: str, typing: bool) -> None:
        """Publish to the devices of `users` that the member `user_id` is typing or has stopped."""
        self._deliver(users, Delivery(typing=frames.encode_typing(conversation_id, user_id, typing)))

    def _deliver(self, users: Collection[str], delivery: Delivery) -> None:
        homes: dict[str, list[str]] = {}
        for user in users:
            homes.setdefault(server_at(self._ring, user_position(user)), []).append(user)
        local_users = homes.pop(self._ring.me.server_id, None)
        if local_users:
            self._local.deliver(local_users, delivery)
        if homes:
            wire = mesh.encode_delivery(delivery)
            for home, user_ids in homes.items():
                # A home that cannot be reached rechecks its users once the peer stream is open again.
                if (stream := self._peers.stream_to(home)) is not None:
                    stream.send(mesh.encode_deliver(user_ids, wire), delivery.traceparent)


class EdgeRouter:
    """Sends from a home to the edges of its sessions; implements the home's Edges."""

    def __init__(self, ring: RingView, peers: PeerPool, local: SessionRegistry) -> None:
        self._ring = ring
        self._peers = peers
        self._local = local

    def push(self, edge: str, session_ids: Sequence[str], delivery: Delivery) -> None:
        """Send `delivery` to sessions of an edge."""
        if edge == self._ring.me.server_id:
            self._local.deliver(session_ids, delivery)
        elif (stream := self._peers.stream_to(edge)) is not None:
            stream.send(mesh.encode_push(session_ids, mesh.encode_delivery(delivery)), delivery.traceparent)

    def close(self, edge: str, session_id: str, failure: Failure) -> None:
        """End a session with `failure`."""
        if edge == self._ring.me.server_id:
            self._local.close_session(session_id, failure)
        elif (stream := self._peers.stream_to(edge)) is not None:
            stream.send_unbounded(mesh.encode_close_session(session_id, failure))

    def recheck(self, edge: str, session_ids: Sequence[str]) -> None:
        """Make sessions of an edge read again what they may have missed."""
        if edge == self._ring.me.server_id:
            self._local.recheck(session_ids)
        elif (stream := self._peers.stream_to(edge)) is not None:
            stream.send_unbounded(mesh.encode_recheck(session_ids))
