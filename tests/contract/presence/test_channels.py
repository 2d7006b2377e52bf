"""The messages between presence servers over a real Valkey, whose connections are cut."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from devstack.stack import Stack
from presence_service.model.presence import PresenceRecord, StreamState, Transition
from presence_service.storage.presence_store import RedisPresenceStore
from presence_service.watching.channels import RedisChannels
from servicekit.redis import connect_redis
from tests.eventually import eventually

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
        """Cut the subscribing connection, and wait until there is another one."""
        before = self.connections
        await self.redis.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")  # type: ignore[no-untyped-call]
        await eventually(lambda: self.connections > before)


@pytest.fixture
async def server(valkey: Stack) -> AsyncIterator[HearingServer]:
    server = HearingServer(connect_redis(valkey.redis_url))
    running = asyncio.create_task(server.channels.run())
    await eventually(lambda: server.connections == 1)
    yield server
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await server.redis.aclose()


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
