"""The change index may over-report; any loss moves its generation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from chat_service.model.cursor import Cursor, IndexReading, Resync
from chat_service.storage.change_index import MARGIN_MS, MAX_CURSOR_AGE_MS, RedisChangeIndex
from chat_service.storage.generation_store import MongoGenerationStore
from chat_service.storage.index_generation import IndexGeneration
from chat_service.storage.scripts import KEY_TTL_MS, user_key
from devstack.stack import Stack
from servicekit.mongo import Database
from tests.eventually import eventually
from tests.integration.chat.conftest import ALICE, BOB, CAROL

pytestmark = pytest.mark.integration

ONE, TWO = "1" * 32, "2" * 32
# An upper bound, on any machine, of the time until a probe detects a loss after the grace period of a generation.
DETECTION_TIMEOUT_S = 20.0


async def cursor_of(index: RedisChangeIndex, user: str) -> Cursor:
    reading = await index.read_changes(user, None)
    assert reading.cursor is not None
    return reading.cursor


async def test_touch_is_read_by_its_users(index: RedisChangeIndex) -> None:
    before = await cursor_of(index, ALICE)
    await index.touch({ONE: [ALICE, BOB], TWO: [ALICE]})
    assert set((await index.read_changes(ALICE, before)).conversation_ids) == {ONE, TWO}
    assert (await index.read_changes(BOB, before)).conversation_ids == (ONE,)
    assert (await index.read_changes(CAROL, before)).conversation_ids == ()


async def test_cursor_advances_and_keeps_a_margin(index: RedisChangeIndex, redis: Redis) -> None:
    await index.touch({ONE: [ALICE]})
    # Touched before the margin, by Redis's own clock.
    await redis.zadd(f"parley:{{{ALICE[:2]}}}:{ALICE}", {bytes.fromhex(TWO): 1})
    cursor = await cursor_of(index, ALICE)
    reading = await index.read_changes(ALICE, cursor)
    assert reading.resync is Resync.NONE
    assert reading.conversation_ids == (ONE,)
    assert reading.cursor is not None
    assert reading.cursor.time_ms >= cursor.time_ms


async def test_cursor_that_is_older_than_touches_are_kept_needs_a_resync(index: RedisChangeIndex) -> None:
    cursor = await cursor_of(index, ALICE)
    assert MAX_CURSOR_AGE_MS + MARGIN_MS < KEY_TTL_MS
    for age_ms, resync in [(MAX_CURSOR_AGE_MS - 60_000, Resync.NONE), (MAX_CURSOR_AGE_MS, Resync.OTHER_GENERATION)]:
        reading = await index.read_changes(ALICE, Cursor(cursor.generation, cursor.time_ms - age_ms - 1))
        assert reading.resync is resync


async def test_touched_keys_expire_and_those_of_a_deleted_user_are_deleted(
    index: RedisChangeIndex, redis: Redis
) -> None:
    await index.touch({ONE: [ALICE, BOB], TWO: [ALICE]})
    for user in (ALICE, BOB):
        assert 0 < await redis.pttl(user_key(user)) <= KEY_TTL_MS
    before = await cursor_of(index, ALICE)
    await index.delete_user(ALICE)
    await index.delete_user(ALICE)
    assert not await redis.exists(user_key(ALICE))
    assert await redis.exists(user_key(BOB))
    assert (await index.read_changes(ALICE, before)).conversation_ids == ()


async def test_touch_never_decreases_score(index: RedisChangeIndex, redis: Redis) -> None:
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
async def test_invalid_cursor_requires_resync(index: RedisChangeIndex, move, resync) -> None:  # type: ignore[no-untyped-def]
    reading = await index.read_changes(ALICE, move(await cursor_of(index, ALICE)))
    assert reading.resync is resync
    assert reading.cursor is not None
    assert reading.cursor.generation == index.generation.number


async def test_flush_is_detected_by_next_touch(index: RedisChangeIndex, redis: Redis) -> None:
    await index.touch({ONE: [ALICE]})
    cursor = await cursor_of(index, ALICE)
    await redis.flushall()
    await index.touch({TWO: [ALICE]})
    assert index.generation.number > cursor.generation
    assert (await index.read_changes(ALICE, cursor)).resync is Resync.OTHER_GENERATION


async def test_flush_is_detected_by_next_read(index: RedisChangeIndex, redis: Redis) -> None:
    cursor = await cursor_of(index, ALICE)
    await redis.flushall()
    assert (await index.read_changes(ALICE, cursor)).resync is Resync.OTHER_GENERATION


async def test_concurrent_readers_move_generation_once(index: RedisChangeIndex, redis: Redis) -> None:
    cursor = await cursor_of(index, ALICE)
    # The generation is old, so only the grace period of the next one protects it from the concurrent readers.
    index.generation._adopted_at = float("-inf")
    await redis.flushall()
    readings = await asyncio.gather(*(index.read_changes(user, cursor) for user in [ALICE, BOB, CAROL] * 200))
    assert {each.resync for each in readings} == {Resync.OTHER_GENERATION}
    assert index.generation.number == cursor.generation + 1


async def test_flush_is_detected_by_probe(index: RedisChangeIndex, redis: Redis) -> None:
    before = index.generation.number
    moved = asyncio.Event()
    index.generation.subscribe(moved.set)
    await redis.flushall()
    async with asyncio.timeout(DETECTION_TIMEOUT_S):
        await moved.wait()
    assert index.generation.number > before


@pytest.fixture
async def own_valkey(tmp_path: Path) -> AsyncIterator[Stack]:
    """Yield a Valkey that the test may stop."""
    with Stack(tmp_path, only=["valkey"]) as stack:
        yield stack


@dataclass
class IndexPair:
    """The same index on two servers, with the ids of the live servers and the tasks that probe the index."""

    one: RedisChangeIndex
    other: RedisChangeIndex
    alive: set[str]
    tasks: list[asyncio.Task[None]]

    async def crash(self) -> None:
        """Stop the first server and revoke its lease."""
        self.tasks[0].cancel()
        await asyncio.wait([self.tasks[0]])
        self.alive.discard("one")


@pytest.fixture
async def pair(database: Database, own_valkey: Stack) -> AsyncIterator[IndexPair]:
    """Yield two indexes, each with its own Redis client."""
    clients = [Redis.from_url(own_valkey.redis_url, socket_timeout=0.5) for _ in range(2)]
    alive = {"one", "other"}
    indexes = [
        RedisChangeIndex(client, IndexGeneration(client, MongoGenerationStore(database), name, lambda: alive))
        for name, client in zip(["one", "other"], clients, strict=True)
    ]
    tasks = []
    for index in indexes:
        await index.generation.start()
        tasks.append(asyncio.create_task(index.generation.run()))
    yield IndexPair(indexes[0], indexes[1], alive, tasks)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for client in clients:
        with suppress(OSError):
            await client.aclose()


@pytest.mark.parametrize("stop", ["kill", "freeze"])
async def test_outage_marks_server_dirty_and_moves_generation(pair: IndexPair, own_valkey: Stack, stop: str) -> None:
    index, other = pair.one, pair.other
    await index.touch({ONE: [ALICE]})
    cursor = await cursor_of(index, ALICE)
    valkey = own_valkey.processes["valkey"]
    getattr(valkey, stop)()
    await index.touch({TWO: [ALICE]})
    assert (await index.read_changes(ALICE, cursor)).resync is Resync.INDEX_UNAVAILABLE
    if stop == "kill":
        valkey.start()
        valkey.wait_healthy()
    else:
        valkey.resume()

    async def back() -> bool:
        readings: list[IndexReading] = [await each.read_changes(ALICE, cursor) for each in (index, other)]
        return all(
            reading.resync is Resync.OTHER_GENERATION
            and reading.cursor is not None
            and reading.cursor.generation > cursor.generation
            for reading in readings
        )

    await eventually(back)

    async def notes_again() -> bool:
        fresh = await cursor_of(other, ALICE)
        await index.touch({TWO: [ALICE]})
        reading = await other.read_changes(ALICE, fresh)
        return reading.resync is Resync.NONE and TWO in reading.conversation_ids

    await eventually(notes_again)


async def test_failed_read_does_not_mark_server_dirty(pair: IndexPair, monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = await cursor_of(pair.one, ALICE)
    await pair.one.touch({ONE: [ALICE]})
    failed = 0
    with monkeypatch.context() as failing:

        def once(*_: object, **__: object) -> NoReturn:
            nonlocal failed
            failed += 1
            failing.undo()
            raise RedisConnectionError("answered too late")

        failing.setattr(pair.one.generation._redis, "pipeline", once)
        reading = await pair.one.read_changes(ALICE, cursor)
    assert failed == 1
    assert (reading.resync, reading.conversation_ids) == (Resync.NONE, (ONE,))
    assert pair.one.generation.complete
    assert pair.one.generation.number == cursor.generation


async def disconnect(pair: IndexPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disconnect only the first server from Redis."""

    async def unreachable(*_: object, **__: object) -> None:
        raise RedisConnectionError("cut off")

    monkeypatch.setattr(pair.one.generation._redis, "execute_command", unreachable)
    monkeypatch.setattr(pair.one.generation._redis, "pipeline", unreachable_pipeline)


def unreachable_pipeline(*_: object, **__: object) -> NoReturn:
    raise RedisConnectionError("cut off")


async def test_no_cursor_is_returned_while_a_server_is_dirty(pair: IndexPair, monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = await cursor_of(pair.other, ALICE)
    await disconnect(pair, monkeypatch)
    await pair.one.touch({ONE: [ALICE]})
    await eventually(lambda: not pair.other.generation.complete)
    reading = await pair.other.read_changes(ALICE, cursor)
    assert (reading.resync, reading.cursor) == (Resync.INDEX_UNAVAILABLE, None)
    monkeypatch.undo()
    await eventually(lambda: pair.other.generation.complete)
    # A device may have received this cursor before every server knew of the outage.
    assert (await pair.other.read_changes(ALICE, cursor)).resync is Resync.OTHER_GENERATION


async def test_dirty_mark_of_dead_server_is_cleared(pair: IndexPair, monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = await cursor_of(pair.other, ALICE)
    await disconnect(pair, monkeypatch)
    await pair.one.touch({ONE: [ALICE]})
    await pair.crash()
    await eventually(lambda: pair.other.generation.number > cursor.generation)
    reading = await pair.other.read_changes(ALICE, cursor)
    assert reading.resync is Resync.OTHER_GENERATION
    assert reading.cursor is not None


async def test_live_server_cleared_by_mistake_marks_itself_dirty_again(
    pair: IndexPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await disconnect(pair, monkeypatch)
    await pair.one.touch({ONE: [ALICE]})
    pair.alive.discard("one")
    before = pair.other.generation.number
    await eventually(lambda: pair.other.generation.number > before)
    pair.alive.add("one")
    await eventually(lambda: not pair.other.generation.complete)
    cursor = Cursor(pair.other.generation.number, 2**40)
    monkeypatch.undo()
    await eventually(lambda: pair.other.generation.complete)
    assert (await pair.other.read_changes(ALICE, cursor)).resync is Resync.OTHER_GENERATION


async def test_read_only_redis_is_one_outage(pair: IndexPair, own_valkey: Stack) -> None:
    before = await cursor_of(pair.one, ALICE)
    client = Redis.from_url(own_valkey.redis_url)
    await client.config_set("maxmemory", 1)
    await pair.one.touch({ONE: [ALICE]})
    assert not pair.one.generation.complete
    # Further probes see the same outage.
    for _ in range(3):
        await pair.one.generation.probe()
    assert not pair.one.generation.complete
    assert pair.one.generation.number == before.generation
    await client.config_set("maxmemory", 0)
    await client.aclose()
    await eventually(lambda: pair.one.generation.complete and pair.other.generation.complete)
    assert (await pair.one.read_changes(ALICE, before)).resync is Resync.OTHER_GENERATION


async def test_servers_learn_new_generation_by_watching(pair: IndexPair, own_valkey: Stack) -> None:
    index, other = pair.one, pair.other
    await eventually(lambda: index.generation.number == other.generation.number)
    moved = asyncio.Event()
    other.generation.subscribe(moved.set)
    client = Redis.from_url(own_valkey.redis_url)
    await client.flushall()
    await index.touch({ONE: [ALICE]})
    async with asyncio.timeout(DETECTION_TIMEOUT_S):
        await moved.wait()
    await client.aclose()
    await eventually(lambda: index.generation.number == other.generation.number)
