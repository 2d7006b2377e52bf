"""The consistent-hash ring, which maps a key to its owner; it is computed from the members alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from xxhash import xxh3_64_intdigest

VIRTUAL_NODES = 128
POSITIONS = 1 << 64
"""The number of positions on the ring."""

Point = tuple[int, str]


class RingEmpty(Exception):
    """The ring has no member, so no key has an owner."""


@dataclass(frozen=True, slots=True)
class RingMember:
    """A server of the ring: its id, public address, mesh address (both `host:port`) and start time (Unix ms)."""

    server_id: str
    address: str
    internal_address: str
    started_ms: int


def position(key: bytes) -> int:
    """Return the hash of `key`, its position on the ring: 0 to 2**64 - 1."""
    return xxh3_64_intdigest(key)


class Ring:
    """An immutable ring; `revision` is the etcd store revision of the members it was computed from."""

    __slots__ = ("_hashes", "_points", "members", "revision", "virtual_nodes")

    def __init__(
        self, members: Mapping[str, RingMember], points: list[Point], revision: int, virtual_nodes: int
    ) -> None:
        self.members = MappingProxyType(dict(members))
        self.revision = revision
        self.virtual_nodes = virtual_nodes
        self._points = points
        self._hashes = [point[0] for point in points]

    @classmethod
    def from_members(cls, members: Iterable[RingMember], revision: int, virtual_nodes: int = VIRTUAL_NODES) -> Ring:
        """Return a ring of `members`."""
        return cls({}, [], 0, virtual_nodes).with_members(members, revision)

    def with_members(self, members: Iterable[RingMember], revision: int) -> Ring:
        """Return a ring of `members` that reuses the virtual nodes of the members it shares with this ring."""
        new = {member.server_id: member for member in members}
        added = [point for name in new.keys() - self.members.keys() for point in self._points_of(name)]
        removed = self.members.keys() - new.keys()
        kept = [point for point in self._points if point[1] not in removed] if removed else self._points
        # Timsort merges two sorted runs in linear time.
        points = sorted(kept + sorted(added)) if added else kept
        return Ring(new, points, revision, self.virtual_nodes)

    def owner(self, key: bytes) -> RingMember:
        """Return the owner of `key`. Raise RingEmpty if the ring has no member."""
        return self.owner_at(position(key))

    def owner_at(self, position: int) -> RingMember:
        """Return the owner of a position, 0 to 2**64 - 1. Raise RingEmpty if the ring has no member."""
        if not self._points:
            raise RingEmpty
        index = bisect_right(self._hashes, position) % len(self._points)
        return self.members[self._points[index][1]]

    def shares(self) -> dict[str, float]:
        """Return the share of all positions that each member owns, by server id; their sum is 1."""
        owned = dict.fromkeys(self.members, 0)
        # A virtual node owns the positions from the one before it up to itself; the first one closes the circle.
        before = self._hashes[-1] - POSITIONS if self._hashes else 0
        for point, server_id in self._points:
            owned[server_id] += point - before
            before = point
        return {server_id: width / POSITIONS for server_id, width in owned.items()}

    def _points_of(self, server_id: str) -> list[Point]:
        return [(xxh3_64_intdigest(f"{server_id}#{i}".encode()), server_id) for i in range(self.virtual_nodes)]
