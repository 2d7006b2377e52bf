"""The consistent-hash ring: which member owns a key, computed from the members alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from xxhash import xxh3_64_intdigest

VIRTUAL_NODES = 128

Point = tuple[int, str]


class RingEmpty(Exception):
    """The ring has no member, so no key has an owner."""


@dataclass(frozen=True, slots=True)
class RingMember:
    """One server of the ring. `address` is its public name, `internal_address` its mesh port (host:port)."""

    server_id: str
    address: str
    internal_address: str
    started_ms: int


def position(key: bytes) -> int:
    """Where `key` stands on every ring, 0 to 2**64 - 1."""
    return xxh3_64_intdigest(key)


class Ring:
    """An immutable view of the ring; `revision` is the etcd store revision it was computed from."""

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
        """A ring of `members`, computed afresh."""
        return cls({}, [], 0, virtual_nodes).with_members(members, revision)

    def with_members(self, members: Iterable[RingMember], revision: int) -> Ring:
        """This ring with other members; only the virtual nodes of those who came or left are touched."""
        new = {member.server_id: member for member in members}
        came = [point for name in new.keys() - self.members.keys() for point in self._points_of(name)]
        left = self.members.keys() - new.keys()
        stayed = [point for point in self._points if point[1] not in left] if left else self._points
        # Two sorted runs: timsort merges them in linear time.
        points = sorted(stayed + sorted(came)) if came else stayed
        return Ring(new, points, revision, self.virtual_nodes)

    def owner(self, key: bytes) -> RingMember:
        """The member that owns `key`. Raises RingEmpty."""
        return self.owner_at(position(key))

    def owner_at(self, position: int) -> RingMember:
        """The member that owns a position, 0 to 2**64 - 1. Raises RingEmpty."""
        if not self._points:
            raise RingEmpty
        at = bisect_right(self._hashes, position) % len(self._points)
        return self.members[self._points[at][1]]

    def _points_of(self, server_id: str) -> list[Point]:
        return [(xxh3_64_intdigest(f"{server_id}#{i}".encode()), server_id) for i in range(self.virtual_nodes)]
