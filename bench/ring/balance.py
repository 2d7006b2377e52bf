"""The balance of the ring, and the keys that move when a server joins or leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import pstdev
from typing import Final

from servicekit.ring import POSITIONS, VIRTUAL_NODES, Ring, RingMember

MIN_GAIN: Final = 1e-15
"""The shares are rounded; a greater gain is an arc."""


@dataclass(frozen=True, slots=True)
class Balance:
    """The shares of the servers, relative to the mean: the least, the greatest, and the standard deviation."""

    servers: int
    virtual_nodes: int
    least: float
    greatest: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Movement:
    """The share of all keys that a change of the ring moves, the share that it has to move, and where they go.

    `astray` are the sampled positions that moved although neither owner joined or left. `heirs` has the share of the
    keys of the server that left for each server that owns some of them now.
    """

    servers: int
    joined: float
    left: float
    ideal_joined: float
    ideal_left: float
    astray: int
    heirs: Mapping[str, float]

    def assign_heirs(self, devices: int) -> list[str]:
        """Return the new home of each of the devices of the server that left, by the shares of the heirs."""
        homes: list[str] = []
        inherited = 0.0
        for name, part in self.heirs.items():
            inherited += part
            homes += [name] * (round(inherited * devices) - len(homes))
        return homes


def create_members(count: int) -> list[RingMember]:
    """Return `count` members with the names that a StatefulSet gives."""
    return [RingMember(f"chat-{number}", "", "", 0) for number in range(count)]


@cache
def create_ring(count: int, virtual_nodes: int = VIRTUAL_NODES) -> Ring:
    """Return a ring of `count` servers; the same one for the same arguments."""
    return Ring.from_members(create_members(count), 1, virtual_nodes)


def list_owners(ring: Ring, samples: int) -> list[str]:
    """Return the owners of `samples` positions at equal distances."""
    step = POSITIONS // samples
    return [ring.owner_at(number * step).server_id for number in range(samples)]


def measure_balance(servers: int, virtual_nodes: int = VIRTUAL_NODES) -> Balance:
    """Return the balance of a ring of `servers`."""
    shares = [share * servers for share in create_ring(servers, virtual_nodes).shares().values()]
    return Balance(servers, virtual_nodes, min(shares), max(shares), pstdev(shares))


def measure_movement(servers: int, samples: int, virtual_nodes: int = VIRTUAL_NODES) -> Movement:
    """Return what moves when one server joins a ring of `servers`, at least two, and when another one leaves it."""
    ring = create_ring(servers, virtual_nodes)
    newcomer, leaver = f"chat-{servers}", f"chat-{servers // 2}"
    grown = ring.with_members(create_members(servers + 1), 2)
    shrunk = ring.with_members([each for each in create_members(servers) if each.server_id != leaver], 2)
    shares, owners = ring.shares(), list_owners(ring, samples)
    joined = _list_moves(owners, list_owners(grown, samples))
    left = _list_moves(owners, list_owners(shrunk, samples))
    gains = {name: share - shares[name] for name, share in shrunk.shares().items()}
    return Movement(
        servers=servers,
        joined=grown.shares()[newcomer],
        left=shares[leaver],
        ideal_joined=1 / (servers + 1),
        ideal_left=1 / servers,
        astray=sum(new != newcomer for _, new in joined) + sum(old != leaver for old, _ in left),
        heirs={name: gain / shares[leaver] for name, gain in gains.items() if gain > MIN_GAIN},
    )


def _list_moves(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, str]]:
    return [(old, new) for old, new in zip(before, after, strict=True) if old != new]
