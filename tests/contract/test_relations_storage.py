"""The contract of every store of blocks."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from chat_service.storage.relations import MongoBlockStore
from devstack.stack import Stack
from servicekit import mongo

pytestmark = pytest.mark.integration


@pytest.fixture
async def database(mongod: Stack, database_name: str) -> AsyncIterator[mongo.Database]:
    made = await mongo.connect(mongod.mongo_uri, database_name)
    yield made
    await made.client.drop_database(database_name)
    await made.client.close()


@pytest.fixture
async def blocks(database: mongo.Database) -> MongoBlockStore:
    return MongoBlockStore(database)


def users(number: int) -> list[str]:
    return sorted(uuid.uuid4().hex for _ in range(number))


async def test_block_is_directed_and_applies_to_both_users(blocks: MongoBlockStore) -> None:
    alice, bob, carol = users(3)
    for _ in range(2):
        await blocks.block(alice, bob)
    assert await blocks.list_blocked(alice) == [bob]
    assert await blocks.list_blocked(bob) == []
    assert await blocks.filter_blocking([alice, carol], bob) == {alice}
    assert await blocks.filter_blocking([bob], alice) == set()
    assert await blocks.is_blocked_either_way(alice, bob)
    assert await blocks.is_blocked_either_way(bob, alice)
    assert not await blocks.is_blocked_either_way(alice, carol)
    for _ in range(2):
        await blocks.unblock(alice, bob)
    assert not await blocks.is_blocked_either_way(alice, bob)


async def test_blocked_users_are_listed_in_order_and_paged(blocks: MongoBlockStore) -> None:
    alice, *others = ["00" * 16, "00" * 15 + "01", *users(5), "ff" * 16]
    await asyncio.gather(*(blocks.block(alice, other) for other in others))
    await blocks.block("00" * 15 + "01", alice)
    assert await blocks.list_blocked(alice) == others
    assert await blocks.list_blocked(alice, limit=2) == others[:2]
    assert await blocks.list_blocked(alice, others[1], 3) == others[2:5]
    assert await blocks.list_blocked(alice, others[-1]) == []


async def test_delete_all_of_user_keeps_blocks_by_others(blocks: MongoBlockStore) -> None:
    alice, bob, carol = users(3)
    for pair in ((alice, bob), (alice, carol), (bob, alice), (carol, bob)):
        await blocks.block(*pair)
    for _ in range(2):
        await blocks.delete_all_of(alice)
    assert await blocks.list_blocked(alice) == []
    assert await blocks.filter_blocking([bob], alice) == {bob}
    assert await blocks.filter_blocking([carol], bob) == {carol}
