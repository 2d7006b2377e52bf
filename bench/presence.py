"""The workload of presence: users who watch each other and move between foreground and background."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from bench.figures import Figure, Sample, cpu_us_per, percentile
from bench.generator import LoadCounts, LoadGenerator
from bench.measurement import Measurement
from bench.usage import Usage

# Devices that connect in one request; it has a time limit.
BATCH: Final = 500
PERCENT: Final = 100


def presence(measurement: Measurement) -> list[Figure]:
    """Measure presence on open streams: its cost beyond that of the heartbeats, and the delay of a change."""
    sizes, environment = measurement.sizes, measurement.environment
    workload = (
        f"presence of {sizes.present} users, a change every {sizes.change_interval:g} s each, {sizes.watchers} watchers"
    )
    measurement.print_text(f"{workload}: creating the users")
    users = environment.users.create_users(sizes.present)
    environment.users.show_presence(users)
    with LoadGenerator(environment.door) as load:
        for start in range(0, len(users), BATCH):
            load.connect(users[start : start + BATCH])
        measurement.print_text(f"{workload}: watching")
        load.watch(choose_watched(sizes.present, sizes.watchers))
        time.sleep(sizes.warm_up)
        _, idle = measurement.measure_work(partial(time.sleep, sizes.span))
        load.change_activities(sizes.change_interval)
        return measurement.measure(workload, load, partial(_samples, idle))


def choose_watched(users: int, watchers: int) -> list[list[int]]:
    """Return the numbers of the users that each user watches, so that each has as many watchers."""
    # A fixed seed, so that the watches are the same in every run.
    distances = random.Random(2).sample(range(1, users), watchers)
    return [[(number + distance) % users for distance in distances] for number in range(users)]


def _samples(idle: Usage, count: LoadCounts, used: Usage) -> Sequence[Sample]:
    changes = {kind: used.cpu_by_kind[kind] - cpu / idle.at * used.at for kind, cpu in idle.cpu_by_kind.items()}
    return [
        Sample("changes", "/s", count.sent / count.at, more_is_better=None),
        Sample("deliveries", "/s", count.delivered / count.at, more_is_better=None),
        Sample("outdated deliveries", "/s", count.outdated / count.at),
        Sample("presence CPU", "% of a core", used.cpu_by_kind["presence"] / used.at * PERCENT),
        Sample("presence CPU without changes", "% of a core", idle.cpu_by_kind["presence"] / idle.at * PERCENT),
        *(
            Sample(f"{kind} CPU beyond heartbeats", "µs/delivery", cpu_us_per(changes[kind], count.delivered))
            for kind in ("chat", "presence", "envoy", "valkey")
        ),
        Sample("chat CPU with heartbeats", "µs/delivery", cpu_us_per(used.cpu_by_kind["chat"], count.delivered)),
        Sample("heartbeats", "/s", count.answered / count.at, more_is_better=None),
        Sample(
            "load generator", "µs/delivery", cpu_us_per(used.cpu_by_kind["load"], count.delivered), more_is_better=None
        ),
        Sample("median", "ms", percentile(count.latencies, 0.5) / 1000),
        Sample("p99", "ms", percentile(count.latencies, 0.99) / 1000),
    ]
