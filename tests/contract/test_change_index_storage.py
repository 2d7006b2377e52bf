"""The change index on one Redis and on a cluster, of which a part may lose its data or be gone."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from chat_service.model.cursor import Cursor, Resync
from chat_service.storage import index_generation, scripts
from chat_service.storage.change_index import RedisChangeIndex
from chat_service.storage.generation_store import MongoGenerationStore
from chat_service.storage.index_generation import BUCKETS, IndexGeneration
from chat_service.storage.touched_conversations import RedisTouchedConversations
from servicekit.clock import SystemClock
from servicekit.mongo import Database
from servicekit.redis import connect_redis
from servicekit.redis_cluster import list_primaries, open_primary, primary_of
from tests.eventually import eventually
from tests.valkey_cluster import NODES, ValkeyCluster

pytestmark = pytest.mark.integration

ALICE, CHAT = uuid.uuid4().hex, uuid.uuid4().hex
# A user of each bucket.
USERS = [bucket + uuid.uuid4().hex[2:] for bucket in BUCKETS]


@pytest.fixture
async def index(database: Database, redis: Redis) -> RedisChangeIndex:
    """Return an index whose probes are those that a test makes."""
    index = RedisChangeIndex(redis, IndexGeneration(redis, MongoGenerationStore(database), "me", lambda: ["me"]))
    await index.generation.start()
    return index


@pytest.fixture
async def cluster(valkey_cluster: ValkeyCluster) -> AsyncIterator[Redis]:
    """Yield a client of an empty cluster."""
    client = connect_redis(valkey_cluster.url, cluster=True)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def clustered(database: Database, cluster: Redis) -> RedisChangeIndex:
    """Return an index in a cluster."""
    generation = IndexGeneration(cluster, MongoGenerationStore(database), "me", lambda: ["me"])
    await generation.start()
    return RedisChangeIndex(cluster, generation)


async def test_touches_of_all_buckets_are_read(index: RedisChangeIndex) -> None:
    cursors = {user: (await index.read_changes(user, None)).cursor for user in USERS}
    await index.touch({CHAT: USERS})
    for user in USERS:
        reading = await index.read_changes(user, cursors[user])
        assert (reading.resync, reading.conversation_ids) == (Resync.NONE, (CHAT,))
    await index.delete_user(USERS[0])
    assert (await index.read_changes(USERS[0], cursors[USERS[0]])).conversation_ids == ()


async def test_conversations_of_a_dead_process_are_listed(redis: Redis) -> None:
    dead = RedisTouchedConversations(redis, "chat-1@1", list, SystemClock())
    await dead.note([CHAT])
    other = RedisTouchedConversations(redis, "chat-2@1", lambda: ["chat-2@1"], SystemClock())
    assert await other.list_dead_processes() == ["chat-1@1"]
    assert (await other.read("chat-1@1")).keys() == {CHAT}
    await dead.forget()
    assert await other.list_dead_processes() == []


@pytest.mark.parametrize("number", range(NODES))
async def test_probe_notices_the_flush_of_one_primary(
    clustered: RedisChangeIndex, cluster: Redis, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_generation, "SENTINEL_GRACE_S", 0.0)
    await clustered.generation.probe()
    before = clustered.generation.number
    async with open_primary(cluster, (await list_primaries(cluster))[number]) as primary:
        await primary.flushall()
    await clustered.generation.probe()
    assert clustered.generation.number == before + 1
    await clustered.generation.probe()
    assert (clustered.generation.number, clustered.generation.complete) == (before + 1, True)


async def test_primary_that_is_gone_is_an_outage_and_its_return_advances_the_generation(
    clustered: RedisChangeIndex, cluster: Redis, valkey_cluster: ValkeyCluster
) -> None:
    before = clustered.generation.number
    [node] = [each for each in valkey_cluster.nodes if each.address == primary_of(cluster, scripts.user_key(ALICE))]
    node.kill()
    await clustered.touch({CHAT: [ALICE]})
    assert not clustered.generation.complete
    assert (await clustered.read_changes(ALICE, Cursor(before, 1))).resync is Resync.INDEX_UNAVAILABLE
    node.start()
    await asyncio.to_thread(node.wait_healthy)

    async def is_complete() -> bool:
        await clustered.generation.probe()
        return clustered.generation.complete

    await eventually(is_complete)
    assert clustered.generation.number > before
