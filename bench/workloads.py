"""The workloads: their devices and conversations, their send patterns and their figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from bench import calls
from bench.figures import Figure, Sample, combine_repeats, cpu_us_per, percentile
from bench.generator import LoadCounts, LoadGenerator
from bench.measurement import Measurement
from bench.media.pictures import pictures
from bench.media.transfers import downloads, uploads
from bench.presence import presence
from bench.push import push
from bench.usage import Usage, resident_bytes

WARM_UP_DEVICES: Final = 50
SETTLE_S: Final = 1.0
KIB: Final = 1024

Workload = Callable[[Measurement], list[Figure]]


def idle(measurement: Measurement) -> list[Figure]:
    """Measure the memory of an idle device. It must run first, before other workloads have used and freed memory."""
    sizes, environment = measurement.sizes, measurement.environment
    workload = f"idle devices, {sizes.idle} more each time, one connection each"
    measurement.print_text(f"{workload}: creating {sizes.idle * sizes.repeats} users")
    first = environment.users.create_users(min(WARM_UP_DEVICES, sizes.idle))
    crowds = [environment.users.create_users(sizes.idle) for _ in range(sizes.repeats)]
    with LoadGenerator(environment.door) as load:
        # The first devices cause one-time allocations, which must not count.
        load.connect(first)
        repeats = []
        for repeat, crowd in enumerate(crowds, 1):
            before = _resident_memory(measurement)
            load.connect(crowd)
            after = _resident_memory(measurement)
            repeats.append([_memory_sample(name, after[name] - before[name], len(crowd)) for name in before])
            measurement.print_repeat(workload, repeat, repeats[-1])
    return combine_repeats(workload, repeats)


def _resident_memory(measurement: Measurement) -> dict[str, int]:
    time.sleep(SETTLE_S)
    pids = measurement.environment.pids()
    return {name: sum(map(resident_bytes, pids[name])) for name in ("chat", "envoy")}


def _memory_sample(name: str, growth: int, devices: int) -> Sample:
    return Sample(f"{name} memory per device", "KiB", growth / KIB / devices)


def durable(measurement: Measurement) -> list[Figure]:
    """Measure 1-1 chat at full speed: one device of each pair sends, the other one sends receipts."""
    sizes = measurement.sizes
    with LoadGenerator(measurement.environment.door) as load:
        senders, receivers = _connect_pairs(measurement, load)
        load.send_windowed(senders, sizes.window, receivers)
        workload = f"durable 1-1, {sizes.pairs} pairs, window {sizes.window}, receipts included"
        return measurement.measure(workload, load, _durable_samples)


def _durable_samples(count: LoadCounts, used: Usage) -> list[Sample]:
    return [
        Sample("messages", "/s", count.answered / count.at, more_is_better=True),
        *_cpu_samples(("chat", "mongod", "valkey", "envoy"), "message", count.answered, used),
        Sample(
            "load generator", "µs/message", cpu_us_per(used.cpu_by_kind["load"], count.answered), more_is_better=None
        ),
        Sample("receipts per message", "", count.receipts / count.answered, more_is_better=None),
    ]


def group(measurement: Measurement) -> list[Figure]:
    """Measure a group with one sender at a constant rate, without receipts."""
    sizes, environment = measurement.sizes, measurement.environment
    members = environment.users.create_users(sizes.group)
    conversation = calls.create_group(environment.door, members[0], members[1:])
    with LoadGenerator(environment.door) as load:
        load.connect([replace(member, conversation_id=conversation) for member in members])
        load.send_paced([0], sizes.group_rate, receipts=[])
        workload = f"group of {sizes.group}, {sizes.group_rate:g} messages/s, without receipts"
        return measurement.measure(workload, load, _group_samples)


def _group_samples(count: LoadCounts, used: Usage) -> list[Sample]:
    return [
        Sample("deliveries", "/s", count.delivered / count.at, more_is_better=True),
        *_cpu_samples(("chat", "envoy"), "delivery", count.delivered, used),
        Sample(
            "load generator", "µs/delivery", cpu_us_per(used.cpu_by_kind["load"], count.delivered), more_is_better=None
        ),
        *_latency_samples(count),
    ]


def latency(measurement: Measurement) -> list[Figure]:
    """Measure the latency of 1-1 chat at a low rate, with receipts."""
    sizes = measurement.sizes
    with LoadGenerator(measurement.environment.door) as load:
        senders, receivers = _connect_pairs(measurement, load)
        load.send_paced(senders, sizes.latency_rate, receivers)
        workload = f"latency at {sizes.latency_rate:g} messages/s in all, send to receipt on the other device"
        return measurement.measure(workload, load, _latency_workload_samples)


def _latency_workload_samples(count: LoadCounts, used: Usage) -> list[Sample]:
    # At this rate few messages are batched, so this is the CPU cost of a message in an idle system.
    return [*_latency_samples(count), *_cpu_samples(("chat", "mongod"), "message", count.answered, used)]


def _latency_samples(count: LoadCounts) -> list[Sample]:
    return [Sample(name, "ms", percentile(count.latencies, quantile) / 1000) for name, quantile in QUANTILES.items()]


QUANTILES: Final = {"median": 0.5, "p99": 0.99}


def _cpu_samples(kinds: Sequence[str], unit: str, count: int, used: Usage) -> list[Sample]:
    return [Sample(f"{kind} CPU", f"µs/{unit}", cpu_us_per(used.cpu_by_kind[kind], count)) for kind in kinds]


def _connect_pairs(measurement: Measurement, load: LoadGenerator) -> tuple[Sequence[int], Sequence[int]]:
    """Create and connect pairs with a conversation each. Return the device numbers of the senders and the receivers."""
    pairs = measurement.environment.users.create_pairs(measurement.sizes.pairs)
    conversations = calls.create_direct_conversations(measurement.environment.door, pairs)
    devices = [
        replace(identity, conversation_id=conversation)
        for pair, conversation in zip(pairs, conversations, strict=True)
        for identity in pair
    ]
    load.connect(devices)
    return range(0, len(devices), 2), range(1, len(devices), 2)


MEDIA_WORKLOADS: Final[dict[str, Workload]] = {"uploads": uploads, "downloads": downloads, "pictures": pictures}
WORKLOADS: Final[dict[str, Workload]] = {
    "idle": idle,
    "durable": durable,
    "group": group,
    "latency": latency,
    "presence": presence,
    "push": push,
    **MEDIA_WORKLOADS,
}
