"""The fan-out from owners to homes, and from homes to edges: to the local role, or over a peer stream."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from prometheus_client import Counter

from chat_service.home.home import Home
from chat_service.mesh.peer_pool import PeerPool
from chat_service.mesh.recent_deliveries import RecentDeliveries
from chat_service.mesh.routing import server_at
from chat_service.model.conversation import Watermark
from chat_service.model.delivery import Delivery
from chat_service.model.entry import Entry
from chat_service.model.ids import user_position
from chat_service.owner.append_spans import NO_TRACES
from chat_service.owner.ports import RingView
from chat_service.stream.session_registry import SessionRegistry
from chat_service.wire import entries as wire_entries
from chat_service.wire import frames, mesh
from servicekit.failure import Failure

# Deliveries that are offered again before other work is done.
OFFERS_AT_A_TIME: Final = 100

_deliveries = Counter("parley_fan_out_deliveries", "Deliveries that owners published, each to the homes of its users")
_users = Counter("parley_fan_out_users", "Users of these deliveries, each counted once a delivery")


class FanOut:
    """Publishes to the homes of members; implements the owner's Publisher.

    Each home gets one frame, and the delivery is serialised once for all of them.
    """

    def __init__(self, ring: RingView, peers: PeerPool, local: Home, recent: RecentDeliveries | None = None) -> None:
        self._ring = ring
        self._peers = peers
        self._local = local
        # None: the deployment has no notify service.
        self.recent = recent

    def publish(self, users: Collection[str], entries: Sequence[Entry], traces: Mapping[int, str]) -> None:
        """Publish entries of one conversation to the devices of `users`; `traces` has trace contexts by seq."""
        self._deliver(users, _delivery_of(entries, traces))

    def offer_entries(self, users: Collection[str], entries: Sequence[Entry]) -> None:
        """Offer entries of one conversation to the homes of `users`, for pushes alone."""
        self.offer(users, _delivery_of(entries, NO_TRACES))

    def offer(self, users: Collection[str], delivery: Delivery, sent_at: float | None = None) -> None:
        """Offer a delivery with entries to the homes of `users`, for pushes alone; `sent_at` if it was sent before."""
        self._deliver(users, replace(delivery, push_only=True), sent_at)

    async def offer_lost(self) -> int:
        """Offer again what homes may have lost, once they can be reached or have left the ring.

        Return the number of deliveries.
        """
        if self.recent is None:
            return 0
        lost = self.recent.take_lost(self._can_take)
        for number, (users, sent) in enumerate(lost):
            self.offer(users, sent.delivery, sent.sent_at)
            if number % OFFERS_AT_A_TIME == OFFERS_AT_A_TIME - 1:
                await asyncio.sleep(0)
        return len(lost)

    def _can_take(self, home: str) -> bool:
        members = self._ring.ring.members
        return home == self._ring.me.server_id or self._peers.stream_to(home) is not None or home not in members

    def publish_watermarks(
        self, users: Collection[str], conversation_id: str, watermarks: Mapping[str, Watermark]
    ) -> None:
        """Publish watermarks of members to the devices of `users`."""
        marks = [frames.encode_watermark(conversation_id, user, mark) for user, mark in watermarks.items()]
        self._deliver(users, Delivery(watermarks=tuple(mark.SerializeToString() for mark in marks)))

    def publish_typing(self, users: Collection[str], conversation_id: str, user_id: str, typing: bool) -> None:
        """Publish to the devices of `users` that the member `user_id` is typing or has stopped."""
        self._deliver(users, Delivery(typing=frames.encode_typing(conversation_id, user_id, typing)))

    def _deliver(self, users: Collection[str], delivery: Delivery, sent_at: float | None = None) -> None:
        _deliveries.inc()
        _users.inc(len(users))
        homes: dict[str, list[str]] = {}
        for user in users:
            homes.setdefault(server_at(self._ring, user_position(user)), []).append(user)
        if self.recent is not None and delivery.entries:
            self.recent.add(homes, delivery, sent_at)
        local_users = homes.pop(self._ring.me.server_id, None)
        if local_users:
            self._local.deliver(local_users, delivery)
        if homes:
            self._send(homes, delivery, sent_at)

    def _send(self, homes: Mapping[str, Sequence[str]], delivery: Delivery, sent_at: float | None) -> None:
        wire = mesh.encode_delivery(delivery)
        for home, user_ids in homes.items():
            stream = self._peers.stream_to(home)
            # A home that cannot be reached rechecks its users once the peer stream is open again.
            sent = stream is not None and stream.send(mesh.encode_deliver(user_ids, wire))
            if not sent and self.recent is not None and delivery.entries:
                self.recent.add_unsent(home, user_ids, delivery, sent_at)


def _delivery_of(entries: Sequence[Entry], traces: Mapping[int, str]) -> Delivery:
    encoded = tuple(map(wire_entries.encode_delivery, entries))
    contexts = tuple(traces.get(entry.seq, "") for entry in entries) if traces else ()
    return Delivery(entries=encoded, traceparents=contexts if any(contexts) else ())


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
            stream.send(mesh.encode_push(session_ids, mesh.encode_delivery(delivery)))

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
