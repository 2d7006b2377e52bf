"""The sizes of a run: a quick one of under five minutes, and a tiny one as a smoke test."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of all workloads.

    Each workload warms up for `warm_up` seconds and is then measured `repeats` times for `span` seconds. `pairs` send
    1-1 messages with `window` unanswered sends each. `group` is the number of members of the group. `idle` devices are
    added for each repeat of the idle workload. Rates are in messages per second. Each repeat uploads `files` files of
    `file_mib` MiB by each way, streams `streamed` files of 10 MiB, and sends `pictures` pictures of `megapixels`. Each
    of `present` users watches `watchers` others, and changes between foreground and background once in
    `change_interval` seconds. Each repeat queues `pushes` pushes by each way, to groups of which `push_group` members
    are away; then `push_pairs` users send `push_rate` messages per second to as many who are away.
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
    present: int = 1000
    watchers: int = 20
    change_interval: float = 10.0
    pushes: int = 1500
    push_group: int = 33
    push_pairs: int = 20
    push_rate: float = 20.0


QUICK = Sizes()
# The crowd for which presence and push are built: 10,000 users, who take minutes to connect, and 10,000 pushes.
CROWD = replace(QUICK, present=10_000, change_interval=60.0, warm_up=10.0, span=30.0, pushes=5000)
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
    present=20,
    watchers=4,
    change_interval=2.0,
    pushes=12,
    push_group=3,
    push_pairs=4,
    push_rate=40.0,
)
