"""The messages between presence servers over a real Valkey, whose connections are cut."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis

from presence_service.model.presence import PresenceRecord, StreamState, Transition
from presence_service.storage.presence_store import RedisPresenceStore
from presence_service.watching.channels import RedisChannels
from servicekit.redis import connect_redis
from servicekit.redis_cluster import list_primaries, open_primary
from tests.eventually import eventually
from tests.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.integration

SUBSCRIBERS = 60
CUTS = 20


class HearingServer:
    """The channels of one presence server, and what it heard."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.store = RedisPresenceStore(redis)
        self.channels = RedisChannels(redis)
        self.records: dict[str, PresenceRecord] = {}
        self.permissions: list[tuple[str, str]] = []
        self.watches: list[tuple[str, str]] = []
        self.connections = 0
        self.channels.connect(
            self.records.__setitem__,
            lambda *users: self.permissions.append(users),
            lambda *watch: self.watches.append(watch),
            self._on_reconnected,
        )

    def _on_reconnected(self) -> None:
        self.connections += 1

    async def open_stream(self, user_id: str) -> None:
        """Change the record of a user."""
        await self.store.apply("chat-1", 1, 1, [Transition(user_id, uuid.uuid4().hex, StreamState.FOREGROUND)])

    async def cut(self) -> None:
        """Cut the subscribing connections, and wait until there are others."""
        before = self.connections
        for primary in await list_primaries(self.redis):
            async with open_primary(self.redis, primary) as redis:
                await redis.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")  # type: ignore[no-untyped-call]
        await eventually(lambda: self.connections > before)


@asynccontextmanager
async def run_server(redis: Redis) -> AsyncIterator[HearingServer]:
    server = HearingServer(redis)
    running = asyncio.create_task(server.channels.run())
    await eventually(lambda: server.connections == 1)
    yield server
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.fixture
async def server(redis: Redis) -> AsyncIterator[HearingServer]:
    async with run_server(redis) as server:
        yield server


def users(number: int) -> list[str]:
    return [uuid.uuid4().hex for _ in range(number)]


async def test_records_of_subscribed_users_are_heard(server: HearingServer) -> None:
    bob, carol = users(2)
    await server.channels.subscribe([bob])
    for user in (carol, bob):
        await server.open_stream(user)
    await eventually(lambda: bob in server.records)
    assert len(server.records[bob].streams) == 1
    assert carol not in server.records
    assert server.records[bob] == (await server.store.find_all([bob]))[bob]


async def test_users_who_are_not_retained_are_no_longer_heard(server: HearingServer) -> None:
    bob, carol = users(2)
    await server.channels.subscribe([bob, carol])
    await server.channels.retain([carol])
    for user in (bob, carol):
        await server.open_stream(user)
    await eventually(lambda: carol in server.records)
    assert bob not in server.records


async def test_cut_connection_is_replaced_with_all_its_channels(server: HearingServer) -> None:
    bob, carol = users(2)
    await server.channels.subscribe([bob])
    await server.cut()
    await server.channels.subscribe([bob, carol])
    for user in (bob, carol):
        await server.open_stream(user)
    await eventually(lambda: server.records.keys() == {bob, carol})


async def test_users_who_are_subscribed_during_a_cut_are_heard(server: HearingServer) -> None:
    found = users(SUBSCRIBERS)

    async def subscribe_all() -> None:
        for user in found:
            await server.channels.subscribe([user])

    subscribing = asyncio.create_task(subscribe_all())
    for _ in range(CUTS):
        await server.cut()
    await subscribing
    for user in found:
        await server.open_stream(user)
    await eventually(lambda: server.records.keys() == set(found))


async def test_permissions_and_watches_are_told_apart(server: HearingServer) -> None:
    bob, carol = users(2)
    await server.channels.publish_permissions(bob)
    await server.channels.publish_permissions(bob, carol)
    number = await server.channels.publish_watch("device")
    later = await server.channels.publish_watch("device")
    assert later > number
    await eventually(lambda: len(server.watches) == 2)
    assert server.permissions == [(bob, ""), (bob, carol)]
    assert server.watches == [("device", str(number)), ("device", str(later))]


async def test_records_are_heard_after_a_replica_took_over(tmp_path: Path) -> None:
    with ValkeyCluster(tmp_path) as cluster:
        cluster.add_replica()
        client = connect_redis(cluster.url, cluster=True)
        async with run_server(client) as server:
            found = users(12)
            await server.channels.subscribe(found)
            epoch_ms, primaries = (await server.store.poll()).epoch_ms, await list_primaries(client)
            cluster.nodes[0].kill()
            await eventually(lambda: server.connections == 2, 20)
            for user in found:
                await server.open_stream(user)
            await eventually(lambda: server.records.keys() == set(found))
            assert await list_primaries(client) != primaries
            assert (await server.store.poll()).epoch_ms > epoch_ms, "the replica may lack the last writes"
        await client.aclose()
