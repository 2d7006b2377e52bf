"""MeshService: the side of a link that was dialled."""

from __future__ import annotations

from chat_service.mesh.links import PeerPool
from servicekit.rpc import ByteStream, Call


class MeshServicer:
    """Serves MeshService for other chat servers."""

    def __init__(self, links: PeerPool) -> None:
        self._links = links

    async def Exchange(self, stream: ByteStream, _: Call) -> None:
        """A link, for as long as the other side keeps it."""
        await self._links.accept(stream)
