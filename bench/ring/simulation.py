"""The simulation of rings and Envoys of several sizes; the same model always has the same results."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.ring.balance import Balance, Movement, measure_balance, measure_movement
from bench.ring.mesh_traffic import MeshTraffic, measure_mesh
from bench.ring.ring_model import RingModel
from bench.ring.storm import BucketGate, Gate, HandshakeGate, Storm, simulate_return

FEW_VIRTUAL_NODES: Final = 32
"""The number of virtual nodes that the plot of the balance compares with that of the model."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """The results for each number of chat servers, and the storms at the door for each number of Envoys."""

    balances: Sequence[Balance]
    coarse_balances: Sequence[Balance]
    movements: Sequence[Movement]
    storms: Sequence[Storm]
    meshes: Sequence[MeshTraffic]
    doors: Sequence[Storm]


def simulate(model: RingModel, servers: Sequence[int], envoys: Sequence[int]) -> Simulation:
    """Return the results for numbers of chat servers and of Envoys, each at least two."""
    nodes = int(model.virtual_nodes)
    movements = [measure_movement(count, int(model.samples), nodes) for count in servers]
    return Simulation(
        balances=[measure_balance(count, nodes) for count in servers],
        coarse_balances=[measure_balance(count, FEW_VIRTUAL_NODES) for count in servers],
        movements=movements,
        storms=[simulate_storm(movement, model) for movement in movements],
        meshes=[measure_mesh(count, model) for count in servers],
        doors=[simulate_door(count, model) for count in envoys],
    )


def simulate_storm(movement: Movement, model: RingModel) -> Storm:
    """Return the storm after the death of a chat server: its devices connect to the new homes of their users."""
    randomness = random.Random(movement.servers)

    def create_gate() -> Gate:
        return HandshakeGate(model.handshake_rate, int(model.handshakes), randomness)

    return simulate_return(movement.assign_heirs(int(model.streams)), create_gate)


def simulate_door(envoys: int, model: RingModel) -> Storm:
    """Return the storm at one other Envoy after the death of one: each gets equally many of its clients."""
    clients = math.ceil(model.connections / (envoys - 1))
    return simulate_return(["door"] * clients, lambda: BucketGate(model.burst, model.connects))
