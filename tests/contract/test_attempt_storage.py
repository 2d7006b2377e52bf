"""The contract of every attempt counter: one token bucket per key, shared by all servers."""

from __future__ import annotations

import asyncio
import time

import pytest

from chat_service.accounts.ports import AttemptCounter
from chat_service.storage.attempts import MongoAttemptCounter
from servicekit.mongo import Database
from servicekit.rate_limiter import RateLimit

pytestmark = pytest.mark.integration

# The database expires documents by its own clock: none that a test writes a day ahead.
NOW = (time.time_ns() // 1_000_000_000 + 86_400) * 1000
THREE = RateLimit(rate=0.5, burst=3)


@pytest.fixture
async def attempts(database: Database) -> AttemptCounter:
    store = MongoAttemptCounter(database)
    await store.ensure_indexes()
    await store.ensure_indexes()
    return store


async def test_burst_is_allowed_then_rate_applies(attempts: AttemptCounter) -> None:
    assert [await attempts.take("alice", THREE, NOW) for _ in range(3)] == [0, 0, 0]
    assert await attempts.take("alice", THREE, NOW) == 2
    assert await attempts.take("alice", THREE, NOW + 500) == 1.5, "a refused attempt consumes no token"
    assert await attempts.take("alice", THREE, NOW + 2000) == 0
    assert await attempts.take("alice", THREE, NOW + 2000) == 2
    assert await attempts.take("bob", THREE, NOW) == 0


async def test_refunded_token_can_be_taken_again(attempts: AttemptCounter) -> None:
    await attempts.refund("alice", THREE)
    for _ in range(10):
        assert await attempts.take("alice", THREE, NOW) == 0
        await attempts.refund("alice", THREE)
    assert [await attempts.take("alice", THREE, NOW) for _ in range(4)] == [0, 0, 0, 2]


async def test_several_tokens_are_taken_and_refunded_at_once(attempts: AttemptCounter) -> None:
    assert await attempts.take("alice", THREE, NOW, 2) == 0
    assert await attempts.take("alice", THREE, NOW, 3) == 4
    assert await attempts.take("alice", THREE, NOW) == 0
    await attempts.refund("alice", THREE, 3)
    assert await attempts.take("alice", THREE, NOW, 3) == 0


async def test_bucket_never_exceeds_its_burst(attempts: AttemptCounter) -> None:
    for _ in range(3):
        await attempts.take("alice", THREE, NOW)
    much_later = NOW + 3_600_000
    assert [await attempts.take("alice", THREE, much_later) for _ in range(4)] == [0, 0, 0, 2]


async def test_concurrent_attempts_are_limited_to_burst(database: Database) -> None:
    servers = [MongoAttemptCounter(database) for _ in range(4)]
    waits = await asyncio.gather(*(server.take("alice", THREE, NOW) for server in servers for _ in range(10)))
    assert waits.count(0) == 3
    assert set(waits) == {0, 2}


async def test_clock_far_ahead_does_not_lock_out_key(attempts: AttemptCounter) -> None:
    for _ in range(3):
        await attempts.take("alice", THREE, NOW + 86_400_000)
    assert await attempts.take("alice", THREE, NOW) == 2
    assert await attempts.take("alice", THREE, NOW + 2000) == 0


async def test_keys_are_not_stored_in_clear(attempts: AttemptCounter, database: Database) -> None:
    for key in ("my password", "\0", "\ud800", "$set"):
        await attempts.take(key, THREE, NOW)
    [*kept] = [each async for each in database["sign_in_tries"].find()]
    assert len(kept) == 4
    assert "my password" not in str(kept)
    assert any("expireAfterSeconds" in each for each in (await database["sign_in_tries"].index_information()).values())
