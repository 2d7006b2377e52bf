"""The frames between chat servers, counted on the ring for random conversations."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.capacity.mesh import direct_frames, group_frames
from bench.ring.balance import create_ring
from bench.ring.ring_model import RingModel
from servicekit.ring import POSITIONS, Ring


@dataclass(frozen=True, slots=True)
class MeshTraffic:
    """The mean frames of a message without receipts, counted, and computed by the formulas of the capacity model.

    `per_stream` are the frames per second on a mesh stream, both directions together.
    """

    servers: int
    direct: float
    computed_direct: float
    group: float
    computed_group: float
    per_stream: float


def measure_mesh(servers: int, model: RingModel) -> MeshTraffic:
    """Return the frames on a ring of `servers`, which are at least two."""
    ring = create_ring(servers, int(model.virtual_nodes))
    randomness = random.Random(servers)
    number, members = int(model.conversations), int(model.group_size)
    direct = fmean(_count_direct(_draw_homes(ring, randomness, 2), randomness.random() < 0.5) for _ in range(number))
    # The owner of a group is no member's home: its position is a hash.
    group = fmean(_count_group(_draw_homes(ring, randomness, 1 + members)) for _ in range(number))
    each = direct * (1 - model.group_share) + group * model.group_share
    return MeshTraffic(
        servers=servers,
        direct=direct,
        computed_direct=direct_frames(servers, 0),
        group=group,
        computed_group=group_frames(servers, members - 1, 0),
        # Each of the streams joins two servers, and each server sends messages.
        per_stream=2 * model.messages * each / (servers - 1),
    )


def _draw_homes(ring: Ring, randomness: random.Random, number: int) -> list[str]:
    """Return the owners of `number` random positions."""
    return [ring.owner_at(randomness.randrange(POSITIONS)).server_id for _ in range(number)]


def _count_direct(homes: Sequence[str], owner_sends: bool) -> int:
    """Return the frames of a 1-1 message: the delivery, or the send and its answer. The first home owns it."""
    owner, other = homes
    return 0 if owner == other else 1 if owner_sends else 2


def _count_group(servers: Sequence[str]) -> int:
    """Return the frames of a message to a group: the send, its answer, and a frame to each home of a recipient.

    `servers` are the owner, the home of the sender and those of the recipients.
    """
    owner, sender, *recipients = servers
    return 2 * (sender != owner) + len({*recipients} - {owner})
