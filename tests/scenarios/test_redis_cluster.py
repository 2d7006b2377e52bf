"""A system on a Redis Cluster: messages, presence and pushes work, and one primary may be gone for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from devstack.services import CHAT, NOTIFY, PRESENCE, with_replicas
from devstack.stack import Stack
from parley.chat.v1 import chat_pb2
from servicekit.redis import connect_redis
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.presence import ONLINE, show, wait_present, watch
from tests.raw.pushes import Pushes
from tests.raw.world import World
from tests.scenarios.conftest import ENVIRONMENT
from tests.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.scenario


@pytest.fixture(scope="module")
def clustered_stack(valkey_cluster: ValkeyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    services = with_replicas(with_replicas((CHAT, PRESENCE, NOTIFY), "presence", 1), "notify", 1)
    environment = {**ENVIRONMENT, **valkey_cluster.environment}
    with Stack(tmp_path_factory.mktemp("clustered"), 2, services=services, environment=environment) as stack:
        yield stack


@pytest.fixture
async def world(clustered_stack: Stack) -> AsyncIterator[World]:
    async with World(clustered_stack) as world:
        yield world


@pytest.fixture
async def pushes(world: World, valkey_cluster: ValkeyCluster) -> AsyncIterator[Pushes]:
    client = connect_redis(valkey_cluster.url, cluster=True)
    async with Pushes(world, client) as pushes:
        yield pushes


async def test_messages_presence_and_pushes_work(world: World, pushes: Pushes) -> None:
    alice, *others = await world.users("alice", *["bob"] * 12, "carol")
    carol = others.pop()
    await show(*others)
    await pushes.register(carol)
    for device in (alice, *others):
        await device.connect()
    await wait_present(*others)
    # Their records are on all primaries.
    assert await watch(alice, *others) == {each.user_id: ONLINE for each in others}
    group = await alice.group("Friday", [*others, carol])
    seq = await alice.sent(group, "see you at 8")
    for device in others:
        await device.has(group, "see you at 8")
    await eventually(lambda: ("message", seq) in pushes.kinds(carol), 20)
    cursor = others[0].cursor
    await others[0].close()
    await alice.sent(group, "or at 9")
    await resume(others[0], cursor, group)
    await others[0].has(group, "see you at 8", "or at 9")


async def test_nothing_is_missed_while_a_primary_is_gone(world: World, valkey_cluster: ValkeyCluster) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    for device in (alice, bob, carol):
        await device.connect()
    group = await alice.group("Friday", [bob, carol])
    await alice.sent(group, "before")
    await carol.has(group, "before")
    cursor = carol.cursor
    await carol.close()
    node = valkey_cluster.nodes[0]
    node.kill()
    await alice.sent(group, "during")
    await bob.has(group, "before", "during")
    node.start()
    await asyncio.to_thread(node.wait_healthy)
    await alice.sent(group, "after")
    await resume(carol, cursor, group)
    await carol.has(group, "before", "during", "after")


async def resume(device: RawDevice, cursor: chat_pb2.Cursor | None, conversation_id: str) -> None:
    """Connect, and fetch what is missing of a conversation, which must be among the changes."""
    await device.open(cursor)
    changed, _ = await device.changes()
    assert conversation_id in changed
    await device.fetch(conversation_id, after_seq=max(device.logs[conversation_id]))
