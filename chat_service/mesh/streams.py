"""The way from a unary call to the stream of its device, wherever that ends."""

from __future__ import annotations

from chat_service.errors import StreamNotConnected
from chat_service.mesh.homes import Homes
from chat_service.mesh.links import Links
from chat_service.mesh.placing import asked
from chat_service.owner.ports import RingView
from chat_service.stream.edge import Edge
from chat_service.wire import mesh
from servicekit.auth import Claims


class Streams:
    """Finds the stream of a device by its home, and says to it what the device said in a call."""

    def __init__(self, ring: RingView, links: Links, homes: Homes, here: Edge) -> None:
        self._ring = ring
        self._links = links
        self._homes = homes
        self._here = here

    async def tell(self, who: Claims, frame: bytes) -> bytes:
        """What the stream answers to a serialised ConnectRequest. Raises StreamNotConnected, OwnerUnavailable."""
        found = await self._homes.find(who.user_id, who.device_id)
        if found is None:
            raise StreamNotConnected("this device has no stream; open one first")
        edge, session_id = found
        if edge == self._ring.me.server_id:
            return await self._here.hear(session_id, frame)
        return (await asked(self._links.to(edge), mesh.tell(session_id, frame))).told.response
