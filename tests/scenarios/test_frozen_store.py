"""MongoDB is frozen for a while: no send is acknowledged meanwhile, and all are afterwards, in order and once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from parley.chat.v1 import chat_pb2, conversation_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice, id_at
from tests.raw.world import World

pytestmark = [pytest.mark.scenario, pytest.mark.fault]

SENDS = 20


@asynccontextmanager
async def frozen(world: World) -> AsyncIterator[None]:
    """Freeze MongoDB, which keeps its connections open and answers no command."""
    mongod = world.stack.processes["mongod"]
    mongod.freeze()
    try:
        # The signal reaches one thread after the other.
        await eventually(lambda: states_of_threads(mongod.pid) == {"T"})
        yield
    finally:
        mongod.resume()


def states_of_threads(pid: int) -> set[str]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks}


def old_id() -> str:
    """Return the id of an older send, which an owner looks up as a possible retry before it appends."""
    return id_at(time.time_ns() // 1_000_000 - 120_000)


async def answered(device: RawDevice, keys: list[str]) -> list[int]:
    return [(await device.next_result(key, timeout=30)).appended.seq for key in keys]


# The second is longer than the 5 s after which an owner gives up on one try, and shorter than a lane's patience.
@pytest.mark.parametrize("seconds", [3.0, 7.0])
async def test_sends_wait_for_frozen_store(fragile_world: World, seconds: float) -> None:
    alice, bob = await fragile_world.users("alice", "bob")
    fresh, again = await alice.direct(bob), await alice.group("Again", [bob])
    for device in (alice, bob):
        await device.connect()
    assert await alice.sent(fresh, "warm") == 2
    assert await alice.sent(again, "warm") == 3
    async with frozen(fragile_world):
        new_ones = [await alice.send(fresh, f"{number}") for number in range(SENDS)]
        old_ones = [await alice.send(again, f"{number}", client_message_id=old_id()) for number in range(SENDS)]
        # How long the store is away is what this is about.
        await asyncio.sleep(seconds)
        assert not any(alice.answers[key] for key in (*new_ones, *old_ones)), "acknowledged, and not stored"
        assert bob.bodies(fresh) == bob.bodies(again) == ["warm"], "delivered, and not stored"
    assert await answered(alice, new_ones) == list(range(3, 3 + SENDS))
    assert await answered(alice, old_ones) == list(range(4, 4 + SENDS))
    for conversation in (fresh, again):
        await bob.has(conversation, "warm", *(f"{number}" for number in range(SENDS)))
        assert bob.live_seqs(conversation) == sorted(set(bob.live_seqs(conversation)))
    for device in (alice, bob):
        assert device.stream.open
        assert "error" not in device.stream.kinds


async def test_send_repeated_during_store_freeze_is_stored_once(fragile_world: World) -> None:
    alice, bob = await fragile_world.users("alice", "bob")
    conversation = await alice.direct(bob)
    await alice.connect()
    async with frozen(fragile_world):
        key = await alice.send(conversation, "once")
        for _ in range(3):
            await alice.send(conversation, "once", client_message_id=key)
        # No event tells that nothing is answered; an answer of a store that is not frozen takes milliseconds.
        await asyncio.sleep(0.5)
        assert not alice.answers[key]
        await alice.close()
    await alice.open()
    await alice.send(conversation, "once", client_message_id=key)
    await eventually(lambda: alice.answers[key])
    assert {answer.appended.seq for answer in alice.answers[key]} == {2}
    assert (await alice.fetch(conversation)).seqs == [1, 2]


async def test_connection_during_store_freeze_is_refused_with_retry_delay(fragile_world: World) -> None:
    alice, bob = await fragile_world.users("alice", "bob")
    conversation = await alice.direct(bob)
    async with frozen(fragile_world):
        stream = alice.dial()
        await stream.send_frame(hello=chat_pb2.Hello())
        shown = conversation_pb2.GetConversationRequest(conversation_id=conversation)
        refusals = await asyncio.gather(stream.wait_ended(), alice.refusal(shown))
    for refusal in refusals:
        assert refusal.code_and_reason == ("UNAVAILABLE", "STORE_UNAVAILABLE")
        assert refusal.retry_after
    await alice.open()
    assert await alice.sent(conversation, "there again") == 2
