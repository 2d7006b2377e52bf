"""The workload of push: what notify servers use to drain a queue, and the delay of a push at a low rate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

from bench import calls
from bench.figures import Figure, Sample, combine_repeats, cpu_us_per, per_cpu_second, percentile
from bench.generator import LoadGenerator
from bench.load.device import DeviceIdentity, parse_sent_ns
from bench.measurement import Measurement
from bench.push_queue import PushQueue, encode_event
from devstack.errors import SetupError


@dataclass(frozen=True, slots=True)
class AwayGroup:
    """A group whose members, but for the author, are away."""

    conversation_id: str
    author: DeviceIdentity
    away: Sequence[DeviceIdentity]

    def event(self, seq: int) -> bytes:
        """Return the event of a message for all."""
        return self._encode(seq, self.away)

    def events_for_each(self, seq: int) -> list[bytes]:
        """Return an event of a message for each user who is away."""
        return [self._encode(seq, [user]) for user in self.away]

    def _encode(self, seq: int, users: Sequence[DeviceIdentity]) -> bytes:
        return encode_event(self.conversation_id, seq, self.author.user_id, [user.user_id for user in users])


def push(measurement: Measurement) -> list[Figure]:
    """Measure how notify servers drain a queue, one user an event and a group an event, and the delay of a push."""
    sizes, environment = measurement.sizes, measurement.environment
    stack = environment.stack
    workload = f"push: {sizes.pushes} queued at once by each way, then {sizes.push_rate:g} a second"
    measurement.print_text(f"{workload}: creating users and groups")
    with PushQueue(stack.redis_url, stack.layout.recorded_pushes) as queue, LoadGenerator(environment.door) as load:
        groups, away = _create_groups(measurement), _connect_senders(measurement, load)
        # Only now, so that nobody is told of being added to a group.
        queue.wait_drained()
        environment.users.register_tokens([*away, *(user for group in groups for user in group.away)])
        drains = [_measure_drains(measurement, workload, queue, groups, repeat) for repeat in range(sizes.repeats)]
        offset = queue.record_size()
        load.send_paced(range(sizes.push_pairs), sizes.push_rate, receipts=[])
        # Homes take nobody for away in the first seconds after a change of the ring.
        queue.wait_recorded(offset, {user.user_id for user in away})
        time.sleep(sizes.warm_up)
        delays = [_measure_delay(measurement, queue) for _ in range(sizes.repeats)]
    return combine_repeats(workload, [[*drain, *delay] for drain, delay in zip(drains, delays, strict=True)])


def _create_groups(measurement: Measurement) -> list[AwayGroup]:
    """Create enough groups for the pushes of a repeat; nobody is a member of two."""
    sizes, environment = measurement.sizes, measurement.environment
    count, members = ceil(sizes.pushes / sizes.push_group), sizes.push_group + 1
    users = environment.users.create_users(count * members)
    parts = [users[start : start + members] for start in range(0, len(users), members)]
    return [AwayGroup(calls.create_group(environment.door, author, away), author, away) for author, *away in parts]


def _connect_senders(measurement: Measurement, load: LoadGenerator) -> list[DeviceIdentity]:
    """Connect one user of each pair, and return the others."""
    environment = measurement.environment
    pairs = environment.users.create_pairs(measurement.sizes.push_pairs)
    conversations = calls.create_direct_conversations(environment.door, pairs)
    load.connect([replace(sender, conversation_id=one) for (sender, _), one in zip(pairs, conversations, strict=True)])
    return [away for _, away in pairs]


def _measure_drains(
    measurement: Measurement, workload: str, queue: PushQueue, groups: Sequence[AwayGroup], repeat: int
) -> list[Sample]:
    # Each way has a seq of its own, since nothing is pushed that is older than what was.
    seqs = (2 * repeat + 2, 2 * repeat + 3)
    single = [event for group in groups for event in group.events_for_each(seqs[0])]
    joined = [group.event(seqs[1]) for group in groups]
    samples = [
        *_measure_drain(measurement, queue, "one user an event", single, len(single)),
        *_measure_drain(measurement, queue, f"{len(groups[0].away)} users an event", joined, len(single)),
    ]
    measurement.print_repeat(workload, repeat + 1, samples)
    return samples


def _measure_drain(
    measurement: Measurement, queue: PushQueue, name: str, events: Sequence[bytes], pushes: int
) -> list[Sample]:
    offset = queue.record_size()

    def drain() -> None:
        queue.add(events)
        queue.wait_drained()

    _, used = measurement.measure_work(drain)
    if (recorded := len(queue.read_record(offset))) != pushes:
        raise SetupError(f"{pushes} pushes were queued, {name}, and {recorded} were sent.")
    return [
        Sample(f"{name}: pushes", "/CPU s of notify", per_cpu_second(pushes, used.cpu_by_kind["notify"]), True),
        Sample(f"{name}: pushes", "/s", pushes / used.at, True),
        *(
            Sample(f"{name}: {kind} CPU", "µs/push", cpu_us_per(used.cpu_by_kind[kind], pushes))
            for kind in ("notify", "chat", "mongod", "valkey")
        ),
    ]


def _measure_delay(measurement: Measurement, queue: PushQueue) -> list[Sample]:
    """Measure the time from the send of a message to the record of its push, which is by the clock of the day."""
    offset, epoch_ns = queue.record_size(), time.time_ns() - time.monotonic_ns()
    _, used = measurement.measure_work(partial(time.sleep, measurement.sizes.span))
    pushes = queue.read_record(offset)
    delays_ms = [push["time_ms"] - (parse_sent_ns(push["body"]) + epoch_ns) / 1e6 for push in pushes]
    return [
        Sample("pushes of messages", "/s", len(pushes) / used.at, more_is_better=None),
        Sample("median", "ms", percentile(delays_ms, 0.5)),
        Sample("p99", "ms", percentile(delays_ms, 0.99)),
    ]
