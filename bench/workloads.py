"""The scenes: who talks to whom, and which figures that yields."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from bench import calls
from bench.figures import Figure, Line, gathered, per_piece, percentile
from bench.generator import Count, LoadGenerator
from bench.measurement import Measuring
from bench.usage import Usage, resident_bytes

IDLE_FIRST: Final = 50
REST_S: Final = 1.0
KIB: Final = 1024

Scene = Callable[[Measuring], list[Figure]]


def idle(measuring: Measuring) -> list[Figure]:
    """What a device costs that only listens; first of all, while no memory was used and freed by anything else."""
    sizes, grounds = measuring.sizes, measuring.grounds
    scene = f"idle devices, {sizes.idle} more each time, one connection each"
    measuring.say(f"{scene}: making {sizes.idle * sizes.repeats} users")
    first = grounds.people.crowd(min(IDLE_FIRST, sizes.idle))
    crowds = [grounds.people.crowd(sizes.idle) for _ in range(sizes.repeats)]
    with LoadGenerator(grounds.door) as load:
        # What is made once, with the first devices, is not theirs.
        load.connect(first)
        repeats = []
        for repeat, crowd in enumerate(crowds, 1):
            before = _memory(measuring)
            load.connect(crowd)
            after = _memory(measuring)
            repeats.append([_memory_line(name, after[name] - before[name], len(crowd)) for name in before])
            measuring.say_repeat(scene, repeat, repeats[-1])
    return gathered(scene, repeats)


def _memory(measuring: Measuring) -> dict[str, int]:
    time.sleep(REST_S)
    pids = measuring.grounds.pids()
    return {name: sum(map(resident_bytes, pids[name])) for name in ("chat", "envoy")}


def _memory_line(name: str, growth: int, devices: int) -> Line:
    return Line(f"{name} memory per device", "KiB", growth / KIB / devices)


def durable(measuring: Measuring) -> list[Figure]:
    """1-1 chat as fast as it goes: one of each pair sends, the other one answers with receipts."""
    sizes = measuring.sizes
    with LoadGenerator(measuring.grounds.door) as load:
        senders, receivers = _connect_pairs(measuring, load)
        load.send_windowed(senders, sizes.window, receivers)
        scene = f"durable 1-1, {sizes.pairs} pairs, window {sizes.window}, receipts included"
        return measuring.spans(scene, load, _durable_lines)


def _durable_lines(count: Count, used: Usage) -> list[Line]:
    return [
        Line("messages", "/s", count.answered / count.at, more_is_better=True),
        *_cpu_lines(("chat", "mongod", "valkey", "envoy"), "message", count.answered, used),
        Line("load generator", "µs/message", per_piece(used.of["load"], count.answered), more_is_better=None),
        Line("receipts per message", "", count.receipts / count.answered, more_is_better=None),
    ]


def group(measuring: Measuring) -> list[Figure]:
    """One sends to a group at a steady rate; nobody tells that it arrived."""
    sizes, grounds = measuring.sizes, measuring.grounds
    members = grounds.people.crowd(sizes.group)
    conversation = calls.group(grounds.door, members[0], members[1:])
    with LoadGenerator(grounds.door) as load:
        load.connect([replace(each, conversation_id=conversation) for each in members])
        load.send_paced([0], sizes.group_rate, receipts=[])
        scene = f"group of {sizes.group}, {sizes.group_rate:g} messages/s, without receipts"
        return measuring.spans(scene, load, _group_lines)


def _group_lines(count: Count, used: Usage) -> list[Line]:
    return [
        Line("deliveries", "/s", count.delivered / count.at, more_is_better=True),
        *_cpu_lines(("chat", "envoy"), "delivery", count.delivered, used),
        Line("load generator", "µs/delivery", per_piece(used.of["load"], count.delivered), more_is_better=None),
        *_latency_lines(count),
    ]


def latency(measuring: Measuring) -> list[Figure]:
    """1-1 chat at a rate that nobody feels, receipts included."""
    sizes = measuring.sizes
    with LoadGenerator(measuring.grounds.door) as load:
        senders, receivers = _connect_pairs(measuring, load)
        load.send_paced(senders, sizes.latency_rate, receivers)
        scene = f"latency at {sizes.latency_rate:g} messages/s in all, send to receipt on the other device"
        return measuring.spans(scene, load, _latency_scene_lines)


def _latency_scene_lines(count: Count, used: Usage) -> list[Line]:
    # Little is batched here: this is what a message costs a system that is not busy.
    return [*_latency_lines(count), *_cpu_lines(("chat", "mongod"), "message", count.answered, used)]


def _latency_lines(count: Count) -> list[Line]:
    return [Line(name, "ms", percentile(count.latencies, share) / 1000) for name, share in SHARES.items()]


SHARES: Final = {"median": 0.5, "p99": 0.99}


def _cpu_lines(kinds: Sequence[str], piece: str, pieces: int, used: Usage) -> list[Line]:
    return [Line(f"{kind} CPU", f"µs/{piece}", per_piece(used.of[kind], pieces)) for kind in kinds]


def _connect_pairs(measuring: Measuring, load: LoadGenerator) -> tuple[Sequence[int], Sequence[int]]:
    """New pairs with a conversation each, connected; the numbers of those who send, and of the others."""
    couples = measuring.grounds.people.couples(measuring.sizes.pairs)
    conversations = calls.direct(measuring.grounds.door, couples)
    devices = [
        replace(each, conversation_id=conversation)
        for couple, conversation in zip(couples, conversations, strict=True)
        for each in couple
    ]
    load.connect(devices)
    return range(0, len(devices), 2), range(1, len(devices), 2)


SCENES: Final[dict[str, Scene]] = {"idle": idle, "durable": durable, "group": group, "latency": latency}
