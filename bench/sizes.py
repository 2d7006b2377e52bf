"""The sizes of a run: a quick one of under four minutes, and a tiny one as a smoke test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of all workloads.

    Each workload warms up for `warm_up` seconds and is then measured `repeats` times for `span` seconds. `pairs` send
    1-1 messages with `window` unanswered sends each. `group` is the number of members of the group. `idle` devices are
    added for each repeat of the idle workload. Rates are in messages per second. Each repeat uploads `files` files of
    `file_mib` MiB by each way, streams `streamed` files of 10 MiB, and sends `pictures` pictures of `megapixels`.
    """

    warm_up: float = 3.0
    span: float = 10.0
    repeats: int = 2
    pairs: int = 50
    window: int = 4
    group: int = 100
    group_rate: float = 50.0
    latency_rate: float = 200.0
    idle: int = 500
    files: int = 2
    file_mib: int = 64
    streamed: int = 8
    pictures: int = 6
    megapixels: int = 12


QUICK = Sizes()
TINY = Sizes(
    warm_up=0.2,
    span=1.0,
    pairs=4,
    group=6,
    group_rate=10.0,
    latency_rate=40.0,
    idle=10,
    files=1,
    file_mib=16,
    streamed=4,
    pictures=2,
    megapixels=3,
)
