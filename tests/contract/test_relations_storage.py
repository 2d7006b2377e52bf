"""The contract of every store of blocks and acquaintance."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from chat_service.model.entry import Entry, Message
from chat_service.model.ids import direct_id
from chat_service.storage.log import MongoLog
from chat_service.storage.relations import BY_KEY, MongoBlockStore, MongoContacts, outermost_keys_pipeline
from servicekit.mongo import Database
from tests.plans import explain_pipeline

pytestmark = pytest.mark.integration


@pytest.fixture
async def blocks(database: Database) -> MongoBlockStore:
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


async def test_blocks_of_pairs_are_found_in_both_directions(blocks: MongoBlockStore) -> None:
    alice, bob, carol, dave = users(4)
    for pair in ((alice, bob), (carol, alice), (carol, dave), (dave, carol), (bob, dave)):
        await blocks.block(*pair)
    pairs = [(alice, bob), (bob, alice), (alice, carol), (alice, alice), (alice, dave), (dave, carol)]
    assert await blocks.find_blocks(pairs) == {(alice, bob), (carol, alice), (carol, dave), (dave, carol)}
    assert await blocks.find_blocks([]) == set()


@pytest.fixture
async def log(database: Database) -> MongoLog:
    log = MongoLog(database)
    await log.ensure_indexes()
    return log


async def append(log: MongoLog, conversation_id: str, *actors: str) -> None:
    """Append an entry of each actor to a log."""
    message = Message(b"hello")
    entries = [
        Entry(conversation_id, seq, seq, seq, actor, uuid.uuid4().bytes, message, message.fingerprint())
        for seq, actor in enumerate(actors, 1)
    ]
    assert await log.append_batch(entries) is None


async def test_acquaintance_needs_an_entry_of_the_user(database: Database, log: MongoLog) -> None:
    contacts = MongoContacts(database)
    # Ids at both ends, so that keys of the other user lie above, below and right beside those of the user.
    low, user, next_up, high = "00" * 16, "7f" + "00" * 15, "7f" + "00" * 14 + "01", "ff" * 16
    await append(log, direct_id(user, low), low)
    await append(log, direct_id(user, high), high, user, high)
    await append(log, direct_id(user, next_up), user)
    await append(log, direct_id(low, high), low, high)
    await append(log, "c" * 32, user, low, high)
    everybody = [low, user, next_up, high, "12" * 16]
    assert await contacts.filter_acquainted(everybody, user) == {low, high}
    assert await contacts.filter_acquainted(everybody, next_up) == {user}
    assert await contacts.filter_acquainted([], user) == set()
    pairs = [(user, each) for each in everybody] + [(high, low), (low, next_up)]
    acquainted = {(low, user), (user, high), (high, user), (user, next_up), (low, high), (high, low)}
    assert await contacts.find_acquainted(pairs) == acquainted
    assert await contacts.find_acquainted([]) == set()


@pytest.mark.parametrize("direction", [1, -1])
async def test_acquaintance_among_many_is_one_distinct_scan(database: Database, log: MongoLog, direction: int) -> None:
    alice, *others = users(101)
    for other in others:
        await append(log, direct_id(alice, other), *[alice, other] * 10)
    pipeline = outermost_keys_pipeline([direct_id(alice, other) for other in others], direction)
    execution = await explain_pipeline(database, "entries", pipeline, BY_KEY)
    assert "DISTINCT_SCAN" in execution.stages
    assert len(others) <= execution.keys <= 2 * len(others)
    assert execution.documents == 0
