"""The way from a unary call to the stream of its device, wherever that ends."""

from __future__ import annotations

from chat_service.errors import StreamNotConnected
from chat_service.mesh.homes import HomeRouter
from chat_service.mesh.links import PeerPool
from chat_service.mesh.placing import request
from chat_service.owner.ports import RingView
from chat_service.stream.edge import Edge
from chat_service.wire import mesh
from servicekit.auth import Claims


class StreamRouter:
    """Finds the stream of a device by its home, and says to it what the device said in a call."""

    def __init__(self, ring: RingView, links: PeerPool, homes: HomeRouter, here: Edge) -> None:
        self._ring = ring
        self._links = links
        self._homes = homes
        self._local = here

    async def forward_frame(self, who: Claims, frame: bytes) -> bytes:
        """What the stream answers to a serialised ConnectRequest. Raises StreamNotConnected, OwnerUnavailable."""
        found = await self._homes.find_session(who.user_id, who.device_id)
        if found is None:
            raise StreamNotConnected("this device has no stream; open one first")
        edge, session_id = found
        if edge == self._ring.me.server_id:
            return await self._local.handle_unary_frame(session_id, frame)
        return (await request(self._links.stream_to(edge), mesh.encode_tell(session_id, frame))).told.response
