"""The plots of the simulation of the ring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from bench.ring.balance import Balance, Movement
from bench.ring.mesh_traffic import MeshTraffic
from bench.ring.simulation import Simulation
from bench.ring.storm import Storm
from bench.svg_chart import LINEAR_TICKS, Axis, Line, draw_chart, surrounding_powers

POINTS: Final = 60
SHOWN_S: Final = 30.0
PERCENT: Final = 100


def draw_plots(simulation: Simulation, group_size: int) -> dict[str, str]:
    """Return the plots by the names of their files."""
    return {
        "ring-balance.svg": draw_balance([*simulation.coarse_balances, *simulation.balances]),
        "ring-moves.svg": draw_movements(simulation.movements),
        "ring-storm.svg": draw_storms([each.servers for each in simulation.movements], simulation.storms),
        "ring-mesh.svg": draw_mesh(simulation.meshes, group_size),
    }


def draw_balance(balances: Sequence[Balance]) -> str:
    """Return the plot of the greatest and the least share, for each number of virtual nodes."""
    lines = []
    for nodes in dict.fromkeys(each.virtual_nodes for each in balances):
        listed = [each for each in balances if each.virtual_nodes == nodes]
        lines.append(Line(f"{nodes} nodes, greatest", [(each.servers, each.greatest) for each in listed]))
        lines.append(Line(f"{nodes} nodes, least", [(each.servers, each.least) for each in listed]))
    title = "Share of the keys of a server, relative to the mean"
    return draw_chart(title, _servers_axis([each.servers for each in balances]), Axis("", 0.0, 2.0), lines)


def draw_movements(movements: Sequence[Movement]) -> str:
    """Return the plot of the share of the keys that move, in percent."""
    lines = [
        Line("one joins", [(each.servers, each.joined * PERCENT) for each in movements]),
        Line("1 / (n + 1)", [(each.servers, each.ideal_joined * PERCENT) for each in movements]),
        Line("one leaves", [(each.servers, each.left * PERCENT) for each in movements]),
        Line("1 / n", [(each.servers, each.ideal_left * PERCENT) for each in movements]),
    ]
    y = Axis("", *surrounding_powers([share for line in lines for _, share in line.points]), logarithmic=True)
    return draw_chart("Keys that move, in percent", _servers_axis([each.servers for each in movements]), y, lines)


def draw_storms(servers: Sequence[int], storms: Sequence[Storm]) -> str:
    """Return the plot of the share of the devices that are back after a time."""
    lines = [Line(f"{count:,} servers", _trace(storm)) for count, storm in zip(servers, storms, strict=True)]
    x, y = Axis("seconds since a chat server died", 0.0, SHOWN_S), Axis("", 0.0, float(PERCENT))
    return draw_chart("Devices that are back, in percent", x, y, lines)


def draw_mesh(meshes: Sequence[MeshTraffic], group_size: int) -> str:
    """Return the plot of the frames of a message, counted and computed."""
    lines = [
        Line(f"group of {group_size}, counted", [(each.servers, each.group) for each in meshes]),
        Line(f"group of {group_size}, computed", [(each.servers, each.computed_group) for each in meshes]),
        Line("1-1, counted", [(each.servers, each.direct) for each in meshes]),
        Line("1-1, computed", [(each.servers, each.computed_direct) for each in meshes]),
    ]
    greatest = max(frames for line in lines for _, frames in line.points)
    y = Axis("", 0.0, float(LINEAR_TICKS * math.ceil(greatest / LINEAR_TICKS)))
    return draw_chart("Mesh frames of a message", _servers_axis([each.servers for each in meshes]), y, lines)


def _servers_axis(servers: Sequence[int]) -> Axis:
    return Axis("chat servers", *surrounding_powers(servers), logarithmic=True)


def _trace(storm: Storm) -> list[tuple[float, float]]:
    shares = [number / POINTS for number in range(POINTS + 1)]
    points = [(storm.quantile(share), share * PERCENT) for share in shares]
    return [point for point in points if point[0] <= SHOWN_S]
