"""Which server a user or a conversation falls to, how it is asked, and what is said when it cannot be reached."""

from __future__ import annotations

import asyncio

from chat_service.errors import OwnerUnavailable
from chat_service.mesh.peer_stream import PeerStream
from chat_service.owner.ports import RingView
from parley.internal.v1.mesh_pb2 import MeshFrame
from servicekit.ring import RingEmpty
from servicekit.status import from_proto


def server_at(ring: RingView, position: int) -> str:
    """The id of the server that a position falls to; empty while there is no ring."""
    try:
        return ring.ring.owner_at(position).server_id
    except RingEmpty:
        return ""


async def request(link: PeerStream | None, frame: MeshFrame) -> MeshFrame:
    """The answer to a question over a link. Raises OwnerUnavailable when there is none, and what is refused."""
    if link is None:
        raise peer_unreachable()
    answer: asyncio.Future[MeshFrame | None] = asyncio.get_running_loop().create_future()

    def answered(told: MeshFrame | None) -> None:
        if not answer.done():
            answer.set_result(told)

    link.request(frame, answered)
    told = await answer
    if told is None:
        raise peer_unreachable()
    if told.HasField("refused"):
        raise from_proto(told.refused)
    return told


def peer_unreachable() -> OwnerUnavailable:
    """The server in question cannot be reached now."""
    return OwnerUnavailable("the server in charge cannot be reached", retry_after=0.1)
