"""The change index may over-report, and whatever it loses shows as another generation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis

from chat_service.model.cursor import Cursor, Reading, Resync
from chat_service.storage.generation import MongoGeneration
from chat_service.storage.index import RedisIndex
from chat_service.storage.mongo import Database
from devstack.stack import Stack
from tests.eventually import eventually
from tests.integration.chat.conftest import ALICE, BOB, CAROL

pytestmark = pytest.mark.integration

ONE, TWO = "1" * 32, "2" * 32


async def cursor_of(index: RedisIndex, user: str) -> Cursor:
    reading = await index.read(user, None)
    assert reading.cursor is not None
    return reading.cursor


async def test_a_touch_is_read_by_whom_it_concerns(index: RedisIndex) -> None:
    before = await cursor_of(index, ALICE)
    await index.touch({ONE: [ALICE, BOB], TWO: [ALICE]})
    assert set((await index.read(ALICE, before)).conversation_ids) == {ONE, TWO}
    assert (await index.read(BOB, before)).conversation_ids == (ONE,)
    assert (await index.read(CAROL, before)).conversation_ids == ()


async def test_a_cursor_moves_on_and_keeps_a_margin(index: RedisIndex, redis: Redis) -> None:
    await index.touch({ONE: [ALICE]})
    # Touched more than a margin ago, by Redis's own clock.
    await redis.zadd(f"parley:{{{ALICE[:2]}}}:{ALICE}", {bytes.fromhex(TWO): 1})
    cursor = await cursor_of(index, ALICE)
    reading = await index.read(ALICE, cursor)
    assert reading.resync is Resync.NONE
    assert reading.conversation_ids == (ONE,)
    assert reading.cursor is not None
    assert reading.cursor.time_ms >= cursor.time_ms


async def test_a_touch_only_moves_the_score_forward(index: RedisIndex, redis: Redis) -> None:
    key = f"parley:{{{ALICE[:2]}}}:{ALICE}"
    await redis.zadd(key, {bytes.fromhex(ONE): 9e15})
    await index.touch({ONE: [ALICE]})
    assert await redis.zscore(key, bytes.fromhex(ONE)) == 9e15


@pytest.mark.parametrize(
    ("move", "resync"),
    [
        (lambda cursor: None, Resync.NO_CURSOR),
        (lambda cursor: Cursor(cursor.generation - 1, cursor.time_ms), Resync.OTHER_GENERATION),
        (lambda cursor: Cursor(cursor.generation + 5, cursor.time_ms), Resync.OTHER_GENERATION),
        (lambda cursor: Cursor(cursor.generation, cursor.time_ms + 3_600_000), Resync.CURSOR_FROM_FUTURE),
        (lambda cursor: Cursor(-1, -(2**62)), Resync.OTHER_GENERATION),
    ],
)
async def test_a_cursor_that_means_nothing_asks_for_everything(index: RedisIndex, move, resync) -> None:  # type: ignore[no-untyped-def]
    reading = await index.read(ALICE, move(await cursor_of(index, ALICE)))
    assert reading.resync is resync
    assert reading.cursor is not None
    assert reading.cursor.generation == index.generation


async def test_a_flush_is_noticed_by_the_next_touch(index: RedisIndex, redis: Redis) -> None:
    await index.touch({ONE: [ALICE]})
    cursor = await cursor_of(index, ALICE)
    await redis.flushall()
    await index.touch({TWO: [ALICE]})
    assert index.generation > cursor.generation
    assert (await index.read(ALICE, cursor)).resync is Resync.OTHER_GENERATION


async def test_a_flush_is_noticed_by_the_next_reading(index: RedisIndex, redis: Redis) -> None:
    cursor = await cursor_of(index, ALICE)
    await redis.flushall()
    assert (await index.read(ALICE, cursor)).resync is Resync.OTHER_GENERATION


async def test_a_flush_is_noticed_when_nothing_happens(index: RedisIndex, redis: Redis) -> None:
    before = index.generation
    moved = asyncio.Event()
    index.on_generation(moved.set)
    await redis.flushall()
    async with asyncio.timeout(5):
        await moved.wait()
    assert index.generation > before


@pytest.fixture
async def mortal(tmp_path: Path) -> AsyncIterator[Stack]:
    """A Valkey of its own, that may be stopped."""
    with Stack(tmp_path, only=["valkey"]) as stack:
        yield stack


@pytest.fixture
async def pair(database: Database, mortal: Stack) -> AsyncIterator[tuple[RedisIndex, RedisIndex]]:
    """The same index from two servers."""
    clients = [Redis.from_url(mortal.redis_url, socket_timeout=0.5) for _ in range(2)]
    indexes = [RedisIndex(client, MongoGeneration(database)) for client in clients]
    tasks = []
    for index in indexes:
        await index.start()
        tasks.append(asyncio.create_task(index.run()))
    yield indexes[0], indexes[1]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for client in clients:
        with suppress(OSError):
            await client.aclose()


@pytest.mark.parametrize("stop", ["kill", "freeze"])
async def test_an_outage_moves_the_generation_before_anything_goes_unnoted(
    pair: tuple[RedisIndex, RedisIndex], mortal: Stack, stop: str
) -> None:
    index, other = pair
    await index.touch({ONE: [ALICE]})
    cursor = await cursor_of(index, ALICE)
    valkey = mortal.parts["valkey"]
    getattr(valkey, stop)()
    await index.touch({TWO: [ALICE]})
    during = index.generation
    assert during > cursor.generation
    assert (await index.read(ALICE, cursor)).resync is Resync.INDEX_UNAVAILABLE
    if stop == "kill":
        valkey.start()
        valkey.wait_healthy()
    else:
        valkey.resume()

    async def back() -> bool:
        # And once more at its end: another server may have handed out cursors of the generation in between.
        readings: list[Reading] = [await each.read(ALICE, cursor) for each in (index, other)]
        return all(
            reading.resync is Resync.OTHER_GENERATION and reading.cursor and reading.cursor.generation > during
            for reading in readings
        )

    await eventually(back)

    async def notes_again() -> bool:
        # Each server ends the outage for itself, and moves the generation on as it does.
        fresh = await cursor_of(other, ALICE)
        await index.touch({TWO: [ALICE]})
        reading = await other.read(ALICE, fresh)
        return reading.resync is Resync.NONE and TWO in reading.conversation_ids

    await eventually(notes_again)


async def test_servers_learn_of_a_generation_by_watching(pair: tuple[RedisIndex, RedisIndex], mortal: Stack) -> None:
    index, other = pair
    await eventually(lambda: index.generation == other.generation)
    moved = asyncio.Event()
    other.on_generation(moved.set)
    client = Redis.from_url(mortal.redis_url)
    await client.flushall()
    await index.touch({ONE: [ALICE]})
    async with asyncio.timeout(5):
        await moved.wait()
    await client.aclose()
    await eventually(lambda: index.generation == other.generation)
