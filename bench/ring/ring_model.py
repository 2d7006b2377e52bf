"""The parameters of the simulation; their defaults are the limits of the product, or those of the capacity model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.capacity.assumption import assumption, check_bounds, count, share
from bench.capacity.costs import Costs
from bench.capacity.limits import Limits
from servicekit.ring import VIRTUAL_NODES

LIMITS: Final = Limits()
US_PER_S: Final = 1e6


@dataclass(frozen=True, slots=True)
class RingModel:
    """The ring, the servers that devices return to, and the messages that cross the mesh."""

    virtual_nodes: float = count(VIRTUAL_NODES, "virtual nodes of a chat server")
    samples: float = count(1 << 14, "positions of the ring whose owners are looked up")
    streams: float = count(LIMITS.chat_streams, "streams of the chat server that dies")
    connect_us: float = assumption(Costs().chat_connect, "µs", "CPU of a handshake", minimum=1)
    idle_share: float = share(1 - LIMITS.utilisation, "share of a core that the peak leaves idle", minimum=0.01)
    handshakes: float = count(100, "handshakes of a chat server at once")
    connections: float = count(LIMITS.envoy_connections * LIMITS.memory_share, "connections of the Envoy that dies")
    burst: float = count(5000, "new connections that an Envoy accepts at once")
    connects: float = assumption(LIMITS.envoy_connects, "per s", "new connections that it accepts then", minimum=1)
    conversations: float = count(2000, "conversations of each kind whose mesh frames are counted")
    group_size: float = count(12, "members of a group", minimum=2)
    group_share: float = share(0.4, "share of the messages that are sent to groups")
    messages: float = assumption(100, "per s", "messages of a chat server")
    mesh_stream_kib: float = assumption(LIMITS.mesh_stream_kib, "KiB", "memory of a mesh stream, at each end")

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def handshake_rate(self) -> float:
        """The handshakes per second that the idle share of a chat server's core serves."""
        return self.idle_share * US_PER_S / self.connect_us
