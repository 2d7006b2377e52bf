"""What every store of blocks must do."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from chat_service.storage import mongo
from chat_service.storage.blocks import MongoBlocks
from devstack.stack import Stack

pytestmark = pytest.mark.integration


@pytest.fixture
async def database(mongod: Stack, database_name: str) -> AsyncIterator[mongo.Database]:
    made = await mongo.connect(mongod.mongo_uri, database_name)
    yield made
    await made.client.drop_database(database_name)
    await made.client.close()


@pytest.fixture
async def blocks(database: mongo.Database) -> MongoBlocks:
    return MongoBlocks(database)


def users(number: int) -> list[str]:
    return sorted(uuid.uuid4().hex for _ in range(number))


async def test_a_block_has_a_direction_and_bars_both(blocks: MongoBlocks) -> None:
    alice, bob, carol = users(3)
    for _ in range(2):
        await blocks.block(alice, bob)
    assert await blocks.blocked_by(alice) == [bob]
    assert await blocks.blocked_by(bob) == []
    assert await blocks.blocking([alice, carol], bob) == {alice}
    assert await blocks.blocking([bob], alice) == set()
    assert await blocks.between(alice, bob)
    assert await blocks.between(bob, alice)
    assert not await blocks.between(alice, carol)
    for _ in range(2):
        await blocks.unblock(alice, bob)
    assert not await blocks.between(alice, bob)


async def test_the_blocked_come_in_order_a_part_at_a_time(blocks: MongoBlocks) -> None:
    alice, *others = ["00" * 16, "00" * 15 + "01", *users(5), "ff" * 16]
    await asyncio.gather(*(blocks.block(alice, other) for other in others))
    await blocks.block("00" * 15 + "01", alice)
    assert await blocks.blocked_by(alice) == others
    assert await blocks.blocked_by(alice, limit=2) == others[:2]
    assert await blocks.blocked_by(alice, others[1], 3) == others[2:5]
    assert await blocks.blocked_by(alice, others[-1]) == []


async def test_who_is_forgotten_blocks_nobody_and_is_blocked_still(blocks: MongoBlocks) -> None:
    alice, bob, carol = users(3)
    for pair in ((alice, bob), (alice, carol), (bob, alice), (carol, bob)):
        await blocks.block(*pair)
    for _ in range(2):
        await blocks.forget(alice)
    assert await blocks.blocked_by(alice) == []
    assert await blocks.blocking([bob], alice) == {bob}
    assert await blocks.blocking([carol], bob) == {carol}
