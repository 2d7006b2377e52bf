"""The costs that a result of `make bench-quick` has figures of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.figures import Figure
from bench.results import FOLDER, Result, read_result
from bench.sizes import QUICK

RECORDED: Final = Path(__file__).with_name("recorded.json")
US_PER_MS: Final = 1000.0


@dataclass(frozen=True, slots=True)
class FigureName:
    """A line of the benchmark's table: how its workload begins, its name, and the factor to the unit of the model."""

    workload: str
    name: str
    factor: float = 1.0


MEASURED: Final[Mapping[str, FigureName]] = {
    "chat_stream_kib": FigureName("idle", "chat memory per device"),
    "envoy_stream_kib": FigureName("idle", "envoy memory per device"),
    "chat_message": FigureName("durable", "chat CPU"),
    # A shard gets the messages of many chat servers, and theirs share no write; those of the durable workload do.
    "mongod_message": FigureName("latency", "mongod CPU"),
    "envoy_message": FigureName("durable", "envoy CPU"),
    "chat_delivery": FigureName("group", "chat CPU"),
    "envoy_delivery": FigureName("group", "envoy CPU"),
    "chat_presence": FigureName("presence", "chat CPU beyond heartbeats"),
    "envoy_presence": FigureName("presence", "envoy CPU beyond heartbeats"),
    "presence_delivery": FigureName("presence", "presence CPU beyond heartbeats"),
    "redis_change": FigureName("presence", "valkey CPU beyond heartbeats", QUICK.watchers),
    "notify_push": FigureName("push", "one user an event: notify CPU"),
    "chat_push": FigureName("push", "one user an event: chat CPU"),
    "mongod_push": FigureName("push", "one user an event: mongod CPU"),
    "redis_push": FigureName("push", "one user an event: valkey CPU"),
    "media_megapixel": FigureName("JPEG pictures", "worker CPU", US_PER_MS / QUICK.megapixels),
    "media_megabyte": FigureName("uploads", "presigned, digest: media CPU", US_PER_MS),
}
# The figures that the cost of a heartbeat follows from.
WITH_HEARTBEATS: Final = FigureName("presence", "chat CPU with heartbeats")
BEYOND_HEARTBEATS: Final = MEASURED["chat_presence"]
DELIVERIES: Final = FigureName("presence", "deliveries")
HEARTBEATS: Final = FigureName("presence", "heartbeats")
RECEIPTS: Final = FigureName("durable", "receipts per message")


def measure_costs(figures: Sequence[Figure]) -> dict[str, float]:
    """Return the costs that `figures` contain, by name."""
    found = {name: _find(figures, line) for name, line in MEASURED.items()}
    found["chat_heartbeat"] = _heartbeat_cost(figures)
    # A difference of two noisy figures may be below zero.
    return {name: max(0.0, value) for name, value in found.items() if value is not None}


def measured_receipts(result: Result | None) -> float:
    """Return the receipt frames that the measured message includes; 0 without a result."""
    return (_find(result.figures, RECEIPTS) if result else None) or 0.0


def newest_result(folder: Path = FOLDER) -> Result:
    """Return the newest complete result in `folder`, or the recorded one. Raise SetupError for a file that is none."""
    complete = [result for result in map(read_result, folder.glob("*.json")) if result.sizes == QUICK]
    return max(complete, key=lambda result: result.taken) if complete else read_result(RECORDED)


def _find(figures: Sequence[Figure], line: FigureName) -> float | None:
    values = [each.mean for each in figures if each.workload.startswith(line.workload) and each.name == line.name]
    return values[0] * line.factor if values and values[0] == values[0] else None


def _heartbeat_cost(figures: Sequence[Figure]) -> float | None:
    """Return what heartbeats use without changes, per heartbeat."""
    lines = (WITH_HEARTBEATS, BEYOND_HEARTBEATS, DELIVERIES, HEARTBEATS)
    together, beyond, deliveries, heartbeats = (_find(figures, line) for line in lines)
    if together is None or beyond is None or deliveries is None or not heartbeats:
        return None
    return (together - beyond) * deliveries / heartbeats
