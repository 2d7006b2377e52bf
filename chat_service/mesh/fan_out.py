"""The way from an owner to the homes of members: into the role here, or over a link."""

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
    """From an owner to the homes of members; implements the owner's Publisher. One frame a home, one copy of it."""

    def __init__(self, ring: RingView, links: PeerPool, here: Home) -> None:
        self._ring = ring
        self._links = links
        self._local = here

    def publish(self, users: Collection[str], entries: Sequence[Entry], traceparent: str) -> None:
        """Bring entries of one conversation to the devices of `users`."""
        delivered = tuple(wire_entries.encode_delivery(each) for each in entries)
        self._deliver(users, Delivery(entries=delivered, traceparent=traceparent))

    def publish_watermarks(
        self, users: Collection[str], conversation_id: str, watermarks: Mapping[str, Watermark]
    ) -> None:
        """Bring watermarks of members to the devices of `users`."""
        marks = [frames.encode_watermark(conversation_id, user, mark) for user, mark in watermarks.items()]
        self._deliver(users, Delivery(watermarks=tuple(mark.SerializeToString() for mark in marks)))

    def publish_typing(self, users: Collection[str], conversation_id: str, user_id: str, typing: bool) -> None:
        """Tell the devices of `users` that somebody types, or stopped."""
        self._deliver(users, Delivery(typing=frames.encode_typing(conversation_id, user_id, typing)))

    def _deliver(self, users: Collection[str], delivery: Delivery) -> None:
        homes: dict[str, list[str]] = {}
        for user in users:
            homes.setdefault(server_at(self._ring, user_position(user)), []).append(user)
        mine = homes.pop(self._ring.me.server_id, None)
        if mine:
            self._local.deliver(mine, delivery)
        if homes:
            wire = mesh.encode_delivery(delivery)
            for home, at_home in homes.items():
                # A home that cannot be reached re-checks its users when the link is back.
                if (link := self._links.stream_to(home)) is not None:
                    link.send(mesh.encode_deliver(at_home, wire), delivery.traceparent)


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
