"""Which server a user or a conversation falls to, and what is said when it cannot be reached."""

from __future__ import annotations

from chat_service.errors import OwnerUnavailable
from chat_service.owner.ports import RingView
from servicekit.ring import RingEmpty


def server_at(ring: RingView, position: int) -> str:
    """The id of the server that a position falls to; empty while there is no ring."""
    try:
        return ring.ring.at(position).server_id
    except RingEmpty:
        return ""


def unreachable() -> OwnerUnavailable:
    """The server in question cannot be reached now."""
    return OwnerUnavailable("the server in charge cannot be reached", retry_after=0.1)
