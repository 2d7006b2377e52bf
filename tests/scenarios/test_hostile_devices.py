"""Hostile or faulty devices: their cost is bounded, and other devices are not affected."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
import structlog

from bench.usage import resident_bytes
from devstack.services import CHAT
from devstack.stack import Stack
from parley.chat.v1 import chat_pb2, entry_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice, new_id
from tests.raw.refusal import of_status
from tests.raw.stream import RawStream, StreamEnded
from tests.raw.world import World

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]

KB, MB = 1024, 1024 * 1024
# What may wait for one device, as docs/reliability.md has it: its outbox, and one frame that is being written.
WAITING: Final = MB + 256 * KB
# What may be held of one device: sends without an answer, and the ranges of a fetch that are being read.
UNANSWERED: Final = 4 * MB
FETCHED: Final = 16 * MB
# Memory of a Python process that it takes once and does not give back: batches of the log, arenas, code.
TOLERANCE: Final = 32 * MB
# What is to show that a bound holds is so many times what it allows.
MORE: Final = 2
# Of one device at a server.
STREAMS: Final = 16
# A group begins with its members and its title.
FIRST: Final = 2
# Neighbours talk on; this is long for a message, and short for somebody who waits for somebody else.
UNNOTICED_S: Final = 3.0
WATCHED_S: Final = 5.0


@pytest.fixture
def patient_stack(tmp_path: Path) -> Iterator[Stack]:
    """A system with high send limits for one device and defaults otherwise.

    It is new for each test, because memory that is already allocated would be reused.
    """
    plenty = {f"PARLEY_{name}": "1000000" for name in ("SENDS_PER_SECOND", "SENDS_BURST", "ENTRIES_PER_SECOND")}
    plenty["PARLEY_ENTRIES_BURST"] = "1000000"
    with Stack(tmp_path, chat_servers=2, services=(CHAT,), environment=plenty) as stack:
        yield stack


@pytest.fixture
async def patient_world(patient_stack: Stack) -> AsyncIterator[World]:
    async with World(patient_stack) as world:
        yield world


@asynccontextmanager
async def neighbours_unaffected(world: World, edge: str) -> AsyncIterator[None]:
    """Check that two other devices on the same server and Envoy connection can send and receive meanwhile."""
    carol, dave = await world.users("carol", "dave")
    for device in (carol, dave):
        await device.connect(home=edge)
    theirs = await carol.direct(dave)
    took: list[float] = []

    async def talk() -> None:
        while True:
            began = time.monotonic()
            head = await carol.sent(theirs, "is anything the matter?")
            await dave.has_all(theirs, head)
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.1)

    async with running(talk()):
        yield
        # The one that is under way counts as well.
        said = len(took)
        await eventually(lambda: len(took) > said)
    assert carol.stream.open
    assert dave.stream.open
    assert carol.stream.kinds.count("error") == dave.stream.kinds.count("error") == 0
    assert max(took) < UNNOTICED_S, f"the neighbours had to wait {max(took):.1f} s"


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` concurrently with the body; raise its error, if any."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def growth_below(stack: Stack, most: int, *, also: Sequence[str] = ()) -> AsyncIterator[None]:
    """Check that the memory of no chat server grows by more than `most` bytes, and that none ends.

    `also` names other processes of the system of which this is checked.
    """
    pids = [server.pid for server in (*stack.chat_servers, *map(stack.processes.__getitem__, also))]
    before, high = [resident_bytes(pid) for pid in pids], [0] * len(pids)

    async def look() -> None:
        while True:
            high[:] = [max(was, resident_bytes(pid)) for was, pid in zip(high, pids, strict=True)]
            await asyncio.sleep(0.05)

    async with running(look()):
        yield
    assert all(server.running for server in stack.chat_servers)
    grown = [now - was for now, was in zip(high, before, strict=True)]
    told = f"grew by {', '.join(f'{each / MB:.1f}' for each in grown)} MiB; {most / MB:.1f} MiB are allowed"
    structlog.get_logger("memory").info(told)
    assert max(grown) < most, told


def payload(size: int, number: int) -> entry_pb2.Content:
    data = number.to_bytes(8, "big") * (size // 8)
    return entry_pb2.Content(custom=entry_pb2.CustomPayload(content_type="application/x-test", payload=data))


async def write(device: RawDevice, conversation: str, count: int, size: int, at_once: int = 100) -> None:
    """Append `count` messages of `size` bytes."""
    for start in range(0, count, at_once):
        numbers = range(start, min(start + at_once, count))
        keys = [await device.send(conversation, payload(size, number)) for number in numbers]
        for key in keys:
            assert (await device.next_result(key, timeout=30)).HasField("appended")
        device.answers.clear()


async def test_non_reading_devices_cost_only_their_outboxes(patient_world: World) -> None:
    world, devices, messages, size = patient_world, 10, 300, 60_000
    most = devices * WAITING + UNANSWERED + TOLERANCE
    assert devices * messages * size > MORE * most
    edge, _ = world.servers
    alice, *silent = await world.users("alice", *["silent"] * devices)
    await alice.connect()
    conversations = [await alice.direct(each) for each in silent]
    for each in silent:
        await each.connect(home=edge)
        each.stream.reads.clear()
    async with growth_below(world.stack, most), neighbours_unaffected(world, edge):
        for conversation in conversations:
            await write(alice, conversation, messages, size, at_once=30)
    for each, conversation in zip(silent, conversations, strict=True):
        # Who reads again has lost nothing.
        each.stream.reads.set()
        await caught_up(each, conversation, messages + 1)


async def caught_up(device: RawDevice, conversation: str, head: int) -> None:
    """Fetch entries that were not pushed until the log is complete; reconnect if disconnected."""
    if not device.stream.open:
        await device.connect(device.cursor)
    log, after = device.logs[conversation], 0
    while after < head:
        await device.fetch(conversation, after, limit=500)
        assert after + 1 in log, "a fetch brought nothing"
        while after + 1 in log:
            after += 1


async def test_device_ten_thousand_entries_behind_catches_up_without_receipts(
    patient_world: World,
) -> None:
    world, messages, size = patient_world, 10_000, 16_000
    most = 2 * (WAITING + FETCHED) + UNANSWERED + TOLERANCE
    assert messages * size > MORE * most
    edge, _ = world.servers
    alice, bob, idle = await world.users("alice", "bob", "idle")
    group = await alice.group("Much to read", [bob, idle])
    for device in (alice, idle):
        # He is given everything, and says of nothing that it came.
        await device.connect(home=edge)
    async with growth_below(world.stack, most), neighbours_unaffected(world, edge):
        await write(alice, group, messages, size)
        await bob.connect(home=edge)
        await caught_up(bob, group, messages + FIRST)
    # What did not fit into what may wait for him is there to be fetched.
    await caught_up(idle, group, messages + FIRST)
    everything = list(range(1, messages + FIRST + 1))
    for device in (bob, idle):
        assert sorted(device.logs[group]) == everything


async def test_slow_reader_with_constant_fetches_costs_bounded_memory(patient_world: World) -> None:
    world, devices, messages, size = patient_world, 10, 100, 60_000
    edge, _ = world.servers
    alice, *greedy = await world.users("alice", *["greedy"] * devices)
    await alice.connect()
    group = await alice.group("Heavy", greedy)
    await write(alice, group, messages, size, at_once=30)
    starts = range(messages // 2)
    most, asked = devices * (WAITING + FETCHED) + TOLERANCE, devices * 32 * len(starts) * messages // 2 * size
    assert asked > MORE * most
    async with growth_below(world.stack, most), neighbours_unaffected(world, edge):
        for number, each in enumerate(greedy):
            # No two alike, for what is alike is read once.
            ranges = [chat_pb2.EntryRange(conversation_id=group, after_seq=seq, limit=500 - number) for seq in starts]
            await each.connect(home=edge)
            each.stream.reads.clear()
            for _ in range(32):
                await each.stream.send_frame(fetch=chat_pb2.Fetch(ranges=ranges))
        # No event tells that memory does not grow any more.
        await asyncio.sleep(WATCHED_S)


async def test_flooding_device_is_rate_limited_alone(world: World) -> None:
    """With default limits most sends are refused, and accepted ones are in the log in order."""
    edge = world.servers[0]
    alice, bob = await world.users("alice", "bob")
    await alice.connect(home=edge)
    conversation = await alice.direct(bob)
    body, keys = payload(60_000, 1), list[str]()
    async with growth_below(world.stack, WAITING + UNANSWERED + TOLERANCE), neighbours_unaffected(world, edge):
        until = time.monotonic() + 6.0
        with suppress(TimeoutError):
            async with asyncio.timeout(10.0):
                while time.monotonic() < until:
                    keys.append(await alice.send(conversation, body))
        await eventually(lambda: all(alice.answers[key] for key in keys[:-1]), 30)
    answers = [answer for key in keys for answer in alice.answers[key]]
    taken = [answer.appended.seq for answer in answers if answer.HasField("appended")]
    assert taken == list(range(2, len(taken) + 2))
    assert 60 <= len(taken) < len(answers) / 2
    await bob.connect()
    await caught_up(bob, conversation, taken[-1])


async def test_device_opening_hundreds_of_streams_keeps_few(world: World) -> None:
    edge = world.servers[0]
    [alice] = await world.users("alice")
    async with growth_below(world.stack, WAITING + TOLERANCE), neighbours_unaffected(world, edge):
        # None of them says a word.
        silent = [alice.dial(at=edge) for _ in range(400)]
        await eventually(lambda: sum(stream.open for stream in silent) == STREAMS)
        refused = [await stream.wait_ended() for stream in silent if not stream.open]
        assert {each.code_and_reason for each in refused} == {("RESOURCE_EXHAUSTED", "RATE_LIMITED")}
        assert all(each.retry_after for each in refused)
        await closed(silent)
        # These say hello, one after the other: each supersedes the one before.
        spoken = [await hello(alice, edge) for _ in range(200)]
        await eventually(lambda: sum(stream.open for stream in spoken) <= 1, 30)
        await closed(spoken)
        await connect_when_accepted(alice, edge)


async def hello(device: RawDevice, edge: str) -> RawStream:
    stream = device.dial(home=edge)
    # Who is refused is not heard.
    with suppress(StreamEnded):
        await stream.send_frame(hello=chat_pb2.Hello())
    return stream


async def closed(streams: list[RawStream]) -> None:
    await asyncio.gather(*(stream.close() for stream in streams))


async def connect_when_accepted(device: RawDevice, edge: str) -> None:
    """Connect until accepted: the server refuses until it has noticed that other streams ended."""

    async def is_in() -> bool:
        with suppress(StreamEnded):
            await device.connect(home=edge)
            return True
        return False

    await eventually(is_in)


async def test_sends_to_unknown_conversations_cost_little_memory(world: World) -> None:
    edge = world.servers[0]
    [alice] = await world.users("alice")
    await alice.connect(home=edge)
    async with growth_below(world.stack, WAITING + TOLERANCE), neighbours_unaffected(world, edge):
        with suppress(StreamEnded):
            for _ in range(1500):
                await alice.send(new_id().replace("-", ""), "hello?")
        # What is refused for now waits to come again; at a thousand conversations that is enough.
        assert (await alice.stream.wait_ended(60)).code_and_reason == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
    reasons = Counter(of_status(answer.refused).reason for answers in alice.answers.values() for answer in answers)
    assert reasons["CONVERSATION_NOT_FOUND"] >= 60
    assert reasons["RATE_LIMITED"] >= 900
