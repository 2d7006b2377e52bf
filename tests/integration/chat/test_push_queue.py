"""Events for the notify service are written to Redis in order, in batches, and again after an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from chat_service.push import push_queue
from chat_service.push.push_queue import BATCH, EVENT, QUEUE, RedisPushQueue
from devstack.stack import Stack
from servicekit.redis import connect_redis
from tests.eventually import eventually

pytestmark = pytest.mark.integration


@asynccontextmanager
async def running(queue: RedisPushQueue) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def queue(valkey: Stack) -> AsyncIterator[RedisPushQueue]:
    """A queue with the client of a chat server."""
    client = connect_redis(valkey.redis_url)
    yield RedisPushQueue(client)
    await client.aclose()


async def written(redis: Redis) -> list[int]:
    entries: Any = await redis.xrange(QUEUE)
    return [int(fields[EVENT.encode()]) for _, fields in entries]


def add(queue: RedisPushQueue, *numbers: int) -> None:
    for number in numbers:
        queue.add(str(number).encode())


def count_failures() -> float:
    return REGISTRY.get_sample_value("parley_store_retries_total", {"call": "queue_pushes"}) or 0.0


async def test_events_are_written_in_order_and_in_batches(queue: RedisPushQueue, redis: Redis) -> None:
    many = range(2 * BATCH + 1)
    async with running(queue):
        add(queue, *many)
        await eventually(lambda: not queue._waiting)
        assert await written(redis) == list(many)
        add(queue, 7)
        await eventually(lambda: not queue._waiting)
    assert (await written(redis))[-1] == 7


async def test_events_of_an_outage_are_written_after_it(queue: RedisPushQueue, redis: Redis, valkey: Stack) -> None:
    server = valkey.processes["valkey"]
    async with running(queue):
        add(queue, 1)
        await eventually(lambda: not queue._waiting)
        server.freeze()
        try:
            failures = count_failures()
            add(queue, 2, 3)
            await eventually(lambda: count_failures() > failures, 20)
            add(queue, 4)
            assert len(queue._waiting) == 3
        finally:
            server.resume()
        await eventually(lambda: not queue._waiting, 20)
    found = await written(redis)
    # A batch whose answer was lost is written again.
    assert list(dict.fromkeys(found)) == [1, 2, 3, 4]


async def test_oldest_event_is_dropped_beyond_the_bound(
    queue: RedisPushQueue, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_queue, "MAX_WAITING", 3)
    add(queue, 1, 2, 3, 4)
    async with running(queue):
        await eventually(lambda: not queue._waiting)
    assert await written(redis) == [2, 3, 4]


async def test_events_that_wait_are_written_at_the_stop(queue: RedisPushQueue, redis: Redis) -> None:
    async with running(queue):
        add(queue, 1)
        await eventually(lambda: not queue._waiting)
        add(queue, 2, 3)
    assert await written(redis) == [1, 2, 3]
