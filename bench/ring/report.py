"""The text of a simulation: balance, moved keys, the return of devices, and the mesh."""

from __future__ import annotations

from collections.abc import Sequence

from bench.capacity.mesh import streams_in_all
from bench.capacity.text_table import format_rows
from bench.ring.balance import Balance, Movement
from bench.ring.ring_model import RingModel
from bench.ring.simulation import Simulation
from bench.ring.storm import Storm

KIB_PER_MIB = 1024
QUANTILES = (0.5, 0.99, 1.0)


def format_simulation(simulation: Simulation, model: RingModel, envoys: Sequence[int]) -> list[str]:
    """Return the lines of the tables."""
    return [
        f"shares of the keys, relative to the mean, with {model.virtual_nodes:.0f} virtual nodes",
        *_format_balances(simulation.balances),
        "",
        "keys that move, as a share of all keys",
        *_format_movements(simulation.movements, model),
        "",
        f"a chat server with {model.streams:,.0f} streams dies; each other one serves {model.handshake_rate:.0f} "
        "handshakes per s",
        *_format_storms(simulation, model),
        "",
        f"an Envoy with {model.connections:,.0f} connections dies; each other one accepts {model.burst:,.0f} at once, "
        f"then {model.connects:,.0f} per s",
        *_format_doors(simulation.doors, envoys),
        "",
        f"mesh, with {model.messages:,.0f} messages per s of each server, {model.group_share:.0%} of them to groups of "
        f"{model.group_size:,.0f}",
        *_format_mesh(simulation, model),
    ]


def _format_balances(balances: Sequence[Balance]) -> list[str]:
    rows = [
        (f"  {each.servers:,}", f"{each.least:.2f}", f"{each.greatest:.2f}", f"{each.deviation:.3f}")
        for each in balances
    ]
    return format_rows([("  servers", "least", "greatest", "deviation"), *rows])


def _format_movements(movements: Sequence[Movement], model: RingModel) -> list[str]:
    rows = [
        (
            f"  {each.servers:,}",
            f"{each.joined:.3%}",
            f"{each.ideal_joined:.3%}",
            f"{each.left:.3%}",
            f"{each.ideal_left:.3%}",
            f"{each.astray} of {model.samples:,.0f}",
        )
        for each in movements
    ]
    return format_rows([("  servers", "one joins", "1/(n+1)", "one leaves", "1/n", "astray samples"), *rows])


def _format_storms(simulation: Simulation, model: RingModel) -> list[str]:
    rows: list[tuple[str, ...]] = [
        ("  servers", "heirs", "busiest heir gets", "half back", "99 % back", "all back", "attempts per device")
    ]
    for movement, storm in zip(simulation.movements, simulation.storms, strict=True):
        busiest = f"{max(movement.heirs.values()) * model.streams:,.0f} devices"
        rows.append((f"  {movement.servers:,}", f"{len(movement.heirs)}", busiest, *_format_times(storm)))
    return format_rows(rows)


def _format_doors(storms: Sequence[Storm], envoys: Sequence[int]) -> list[str]:
    rows = [(f"  {count:,}", *_format_times(storm)) for count, storm in zip(envoys, storms, strict=True)]
    return format_rows([("  Envoys", "half back", "99 % back", "all back", "attempts per device"), *rows])


def _format_times(storm: Storm) -> tuple[str, ...]:
    times = (f"{storm.quantile(share):.1f} s" for share in QUANTILES)
    return (*times, f"{storm.attempts / len(storm.times):.1f}")


def _format_mesh(simulation: Simulation, model: RingModel) -> list[str]:
    rows: list[tuple[str, ...]] = [
        ("", "", "streams", "memory", "frames of a", "frames of a", "frames per s"),
        ("  servers", "streams", "of each", "of each", "1-1 message", "group message", "on a stream"),
    ]
    for each in simulation.meshes:
        others = each.servers - 1
        rows.append(
            (
                f"  {each.servers:,}",
                f"{streams_in_all(each.servers):,}",
                f"{others:,}",
                f"{others * model.mesh_stream_kib / KIB_PER_MIB:.1f} MiB",
                f"{each.direct:.2f} ({each.computed_direct:.2f})",
                f"{each.group:.2f} ({each.computed_group:.2f})",
                f"{each.per_stream:,.1f}",
            )
        )
    return [*format_rows(rows), "  In brackets: the frames by the formulas of the capacity model, without receipts."]
