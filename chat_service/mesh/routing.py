"""The lookup of the server responsible for a key, and a request to it over its peer stream."""

from __future__ import annotations

import asyncio

from chat_service.errors import OwnerUnavailable
from chat_service.mesh.peer_stream import PeerStream
from chat_service.owner.ports import RingView
from parley.internal.v1.mesh_pb2 import MeshFrame
from servicekit.ring import RingEmpty
from servicekit.status import from_proto


def server_at(ring: RingView, position: int) -> str:
    """Return the id of the server responsible for a ring position; empty while the ring has no members."""
    try:
        return ring.ring.owner_at(position).server_id
    except RingEmpty:
        return ""


async def request(stream: PeerStream | None, frame: MeshFrame) -> MeshFrame:
    """Send `frame` over a peer stream, and return the response.

    Raises OwnerUnavailable if there is no stream or it ends before the response, and the Failure of a refusal.
    """
    if stream is None:
        raise peer_unreachable()
    pending: asyncio.Future[MeshFrame | None] = asyncio.get_running_loop().create_future()

    def on_response(response: MeshFrame | None) -> None:
        if not pending.done():
            pending.set_result(response)

    stream.request(frame, on_response)
    response = await pending
    if response is None:
        raise peer_unreachable()
    if response.HasField("refused"):
        raise from_proto(response.refused)
    return response


def peer_unreachable() -> OwnerUnavailable:
    """Return the error for a server without a working peer stream; retry after 0.1 s."""
    return OwnerUnavailable("the responsible server cannot be reached; try again", retry_after=0.1)
