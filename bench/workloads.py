"""The scenes: who talks to whom, and which figures that yields."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from bench import calls
from bench.figures import Figure, Sample, combine_repeats, cpu_us_per, percentile
from bench.generator import LoadCounts, LoadGenerator
from bench.measurement import Measurement
from bench.usage import Usage, resident_bytes

WARM_UP_DEVICES: Final = 50
SETTLE_S: Final = 1.0
KIB: Final = 1024

Workload = Callable[[Measurement], list[Figure]]


def idle(measuring: Measurement) -> list[Figure]:
    """What a device costs that only listens; first of all, while no memory was used and freed by anything else."""
    sizes, grounds = measuring.sizes, measuring.environment
    scene = f"idle devices, {sizes.idle} more each time, one connection each"
    measuring.print_text(f"{scene}: making {sizes.idle * sizes.repeats} users")
    first = grounds.users.create_users(min(WARM_UP_DEVICES, sizes.idle))
    crowds = [grounds.users.create_users(sizes.idle) for _ in range(sizes.repeats)]
    with LoadGenerator(grounds.door) as load:
        # What is made once, with the first devices, is not theirs.
        load.connect(first)
        repeats = []
        for repeat, crowd in enumerate(crowds, 1):
            before = _resident_memory(measuring)
            load.connect(crowd)
            after = _resident_memory(measuring)
            repeats.append([_memory_sample(name, after[name] - before[name], len(crowd)) for name in before])
            measuring.print_repeat(scene, repeat, repeats[-1])
    return combine_repeats(scene, repeats)


def _resident_memory(measuring: Measurement) -> dict[str, int]:
    time.sleep(SETTLE_S)
    pids = measuring.environment.pids()
    return {name: sum(map(resident_bytes, pids[name])) for name in ("chat", "envoy")}


def _memory_sample(name: str, growth: int, devices: int) -> Sample:
    return Sample(f"{name} memory per device", "KiB", growth / KIB / devices)


def durable(measuring: Measurement) -> list[Figure]:
    """1-1 chat as fast as it goes: one of each pair sends, the other one answers with receipts."""
    sizes = measuring.sizes
    with LoadGenerator(measuring.environment.door) as load:
        senders, receivers = _connect_pairs(measuring, load)
        load.send_windowed(senders, sizes.window, receivers)
        scene = f"durable 1-1, {sizes.pairs} pairs, window {sizes.window}, receipts included"
        return measuring.measure(scene, load, _durable_samples)


def _durable_samples(count: LoadCounts, used: Usage) -> list[Sample]:
    return [
        Sample("messages", "/s", count.answered / count.at, more_is_better=True),
        *_cpu_samples(("chat", "mongod", "valkey", "envoy"), "message", count.answered, used),
        Sample(
            "load generator", "µs/message", cpu_us_per(used.cpu_by_kind["load"], count.answered), more_is_better=None
        ),
        Sample("receipts per message", "", count.receipts / count.answered, more_is_better=None),
    ]


def group(measuring: Measurement) -> list[Figure]:
    """One sends to a group at a steady rate; nobody tells that it arrived."""
    sizes, grounds = measuring.sizes, measuring.environment
    members = grounds.users.create_users(sizes.group)
    conversation = calls.create_group(grounds.door, members[0], members[1:])
    with LoadGenerator(grounds.door) as load:
        load.connect([replace(each, conversation_id=conversation) for each in members])
        load.send_paced([0], sizes.group_rate, receipts=[])
        scene = f"group of {sizes.group}, {sizes.group_rate:g} messages/s, without receipts"
        return measuring.measure(scene, load, _group_samples)


def _group_samples(count: LoadCounts, used: Usage) -> list[Sample]:
    return [
        Sample("deliveries", "/s", count.delivered / count.at, more_is_better=True),
        *_cpu_samples(("chat", "envoy"), "delivery", count.delivered, used),
        Sample(
            "load generator", "µs/delivery", cpu_us_per(used.cpu_by_kind["load"], count.delivered), more_is_better=None
        ),
        *_latency_samples(count),
    ]


def latency(measuring: Measurement) -> list[Figure]:
    """1-1 chat at a rate that nobody feels, receipts included."""
    sizes = measuring.sizes
    with LoadGenerator(measuring.environment.door) as load:
        senders, receivers = _connect_pairs(measuring, load)
        load.send_paced(senders, sizes.latency_rate, receivers)
        scene = f"latency at {sizes.latency_rate:g} messages/s in all, send to receipt on the other device"
        return measuring.measure(scene, load, _latency_workload_samples)


def _latency_workload_samples(count: LoadCounts, used: Usage) -> list[Sample]:
    # Little is batched here: this is what a message costs a system that is not busy.
    return [*_latency_samples(count), *_cpu_samples(("chat", "mongod"), "message", count.answered, used)]


def _latency_samples(count: LoadCounts) -> list[Sample]:
    return [Sample(name, "ms", percentile(count.latencies, share) / 1000) for name, share in QUANTILES.items()]


QUANTILES: Final = {"median": 0.5, "p99": 0.99}


def _cpu_samples(kinds: Sequence[str], unit: str, count: int, used: Usage) -> list[Sample]:
    return [Sample(f"{kind} CPU", f"µs/{unit}", cpu_us_per(used.cpu_by_kind[kind], count)) for kind in kinds]


def _connect_pairs(measuring: Measurement, load: LoadGenerator) -> tuple[Sequence[int], Sequence[int]]:
    """New pairs with a conversation each, connected; the numbers of those who send, and of the others."""
    couples = measuring.environment.users.create_pairs(measuring.sizes.pairs)
    conversations = calls.create_direct_conversations(measuring.environment.door, couples)
    devices = [
        replace(each, conversation_id=conversation)
        for couple, conversation in zip(couples, conversations, strict=True)
        for each in couple
    ]
    load.connect(devices)
    return range(0, len(devices), 2), range(1, len(devices), 2)


WORKLOADS: Final[dict[str, Workload]] = {"idle": idle, "durable": durable, "group": group, "latency": latency}
