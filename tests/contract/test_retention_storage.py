"""The contract of retention in MongoDB: due conversations come from an index, and removal stays within its bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chat_service.model.conversation import Conversation, ConversationKind, ConversationMember
from chat_service.model.entry import ConversationUpdated, Entry, Message, MessageEdited, Role
from chat_service.model.retention import FOREVER, Retention, RetentionRule
from chat_service.retention.ports import DueConversation, EntryPosition, PictureChange, RemovedStubs
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.documents import encode_id
from chat_service.storage.log import MongoLog
from chat_service.storage.retention import PICTURES_INDEX, MongoRetentionStore, picture_changes_filter
from servicekit.mongo import Database

pytestmark = pytest.mark.integration

ALICE = "a" * 32
BEFORE, HERE, BEHIND = ("b" * 32, "c" * 32, "d" * 32)
A_DAY = Retention(RetentionRule.MAX_AGE, 86_400)


@pytest.fixture
async def log(database: Database) -> MongoLog:
    log = MongoLog(database, lambda content: content.decode().split())
    await log.ensure_indexes()
    return log


@pytest.fixture
async def store(database: Database, log: MongoLog) -> MongoRetentionStore:
    store = MongoRetentionStore(database)
    await store.ensure_indexes()
    await store.ensure_indexes()
    return store


def entry(seq: int, conversation_id: str = HERE) -> Entry:
    message = Message(b"some words")
    return Entry(conversation_id, seq, seq, 1000 * seq, ALICE, seq.to_bytes(16, "big"), message, message.fingerprint())


async def save_conversation(database: Database, conversation_id: str, seq: int = 1) -> None:
    members = {ALICE: ConversationMember(Role.MEMBER, 1)}
    await MongoConversationStore(database).save(
        Conversation(conversation_id, ConversationKind.GROUP, "t", 0, seq, members=members)
    )


async def due(store: MongoRetentionStore, now_ms: int, default: Retention = FOREVER) -> list[str]:
    return [each.conversation_id for each in await store.list_due(now_ms, default, lambda _: True, 10)]


async def test_due_conversations_are_listed_oldest_first_and_only_owned(
    database: Database, store: MongoRetentionStore
) -> None:
    for conversation_id, due_ms in ((HERE, 300), (BEFORE, 100), (BEHIND, 900)):
        await save_conversation(database, conversation_id)
        held = await store.claim(DueConversation(conversation_id, 0), 5000)
        assert held is not None
        await store.release(held, due_ms, FOREVER)
    assert await due(store, 500) == [BEFORE, HERE]
    assert await store.list_due(500, FOREVER, lambda each: each == HERE, 10) == [DueConversation(HERE, 300)]
    assert [each.conversation_id for each in await store.list_due(1000, FOREVER, lambda _: True, 2)] == [BEFORE, HERE]
    assert set(await due(store, 50, A_DAY)) == {BEFORE, HERE, BEHIND}
    assert await due(store, 50) == []


async def test_due_query_reads_only_the_index(database: Database, store: MongoRetentionStore) -> None:
    for number in range(50):
        await save_conversation(database, f"{number:032x}")
    for field, condition in (("due", {"$lte": 100}), ("under", {"$gt": "", "$ne": "1:0"})):
        await database["conversations"].update_many({}, {"$set": {"under": "2:5"}})
        found = database["conversations"].find({field: condition}, {field: 1}).sort([(field, 1), ("_id", 1)])
        plan = await found.explain()
        assert plan["executionStats"]["nReturned"] == 50
        assert plan["executionStats"]["totalDocsExamined"] == 0


async def test_concurrent_change_keeps_conversation_due_after_release(
    database: Database, store: MongoRetentionStore
) -> None:
    await save_conversation(database, HERE)
    held = await store.claim(DueConversation(HERE, 0), 5000)
    assert held is not None
    assert (held.removed_seq, held.conversation.first_seq) == (0, 1)
    assert await store.claim(DueConversation(HERE, 0), 6000) is None
    assert await due(store, 4999) == []
    await MongoConversationStore(database).raise_device_marks({HERE: {"phone": 3}}, 4000)
    await store.release(held, None, None)
    assert await due(store, 4000) == [HERE]
    again = await store.claim(DueConversation(HERE, 4000), 7000)
    assert again is not None
    await save_conversation(database, HERE, seq=2)
    await store.release(again, None, None)
    assert await due(store, 1) == [HERE]


async def test_content_is_removed_only_in_its_range_and_log(
    database: Database, log: MongoLog, store: MongoRetentionStore
) -> None:
    await save_conversation(database, HERE)
    for each in (BEFORE, HERE, BEHIND):
        await log.append_batch([entry(seq, each) for seq in range(1, 8)])
    edited = MessageEdited(3, b"other words")
    edit = Entry(HERE, 8, 7, 9000, ALICE, b"e" * 16, edited, edited.fingerprint())
    await log.append_batch([edit])
    await log.apply_mutations([edit])
    for _ in range(2):
        await store.remove_content(HERE, 2, 4)
    kept = {
        (each["c"].hex(), int.from_bytes(each["_id"][16:], "big")): each async for each in database["entries"].find()
    }
    gone = {seq for (conversation_id, seq), each in kept.items() if conversation_id == HERE and "b" not in each}
    assert gone == {2, 3, 4, 8}
    assert {seq for (conversation_id, seq), each in kept.items() if conversation_id == HERE and "w" not in each} == gone
    whole = {position for position, each in kept.items() if position[0] != HERE and "b" in each}
    assert whole == {(conversation_id, seq) for conversation_id in (BEFORE, BEHIND) for seq in range(1, 8)}
    assert (await database["conversations"].find_one({"_id": encode_id(HERE)}) or {})["gone"] == 4
    # A removed entry has no content, and keeps its seq, time and key.
    assert [each.key for each in (await log.read_page(HERE, 2, 1)).entries] == [entry(2).key]


async def test_stubs_are_removed_in_order_except_the_highest(log: MongoLog, store: MongoRetentionStore) -> None:
    for each in (BEFORE, HERE, BEHIND):
        await log.append_batch([entry(seq, each) for seq in range(1, 8)])
    assert await store.remove_stubs(HERE, 8, 500, 10) == RemovedStubs(0, 1000)
    assert await store.remove_stubs(HERE, 4, 2500, 10) == RemovedStubs(2, 3000)
    assert await store.remove_stubs(HERE, 5, 99_000, 1) == RemovedStubs(1, 4000)
    assert await store.remove_stubs(HERE, 5, 99_000, 10) == RemovedStubs(1, None)
    assert await store.remove_stubs(HERE, 8, 99_000, 10) == RemovedStubs(2, None)
    assert await store.remove_stubs(HERE, 8, 99_000, 10) == RemovedStubs(0, None)
    assert await store.list_positions(HERE, 1, 10) == [EntryPosition(7, 7, 7000)]
    assert (await log.read_head(HERE)).seq == 7
    assert await log.count_messages(HERE, 2) == 6
    for each in (BEFORE, BEHIND):
        assert len(await store.list_positions(each, 1, 10)) == 7


async def test_first_seq_never_decreases(database: Database, store: MongoRetentionStore) -> None:
    await save_conversation(database, HERE)
    for seq in (5, 3):
        await store.raise_first_seq(HERE, EntryPosition(seq, seq - 1, 0), expired=True)
        kept = await MongoConversationStore(database).load(HERE)
        assert kept is not None
        assert (kept.first_seq, kept.expired_seq, kept.expired_number) == (6, 6, 4)


async def test_content_that_an_earlier_version_expired_stays_expired(
    database: Database, store: MongoRetentionStore
) -> None:
    await save_conversation(database, HERE)
    # An earlier version stored no other fields.
    await database["conversations"].update_one({"_id": encode_id(HERE)}, {"$set": {"first": 6, "first_number": 4}})
    await store.raise_first_seq(HERE, EntryPosition(8, 7, 0), expired=False)
    kept = await MongoConversationStore(database).load(HERE)
    assert kept is not None
    assert (kept.first_seq, kept.expired_seq, kept.expired_number) == (9, 6, 4)


async def test_picture_changes_are_read_from_their_index_alone(
    log: MongoLog, store: MongoRetentionStore, database: Database
) -> None:
    changes = {2: "ca" * 16, 40: "", 60: "d0" * 16}
    entries = [entry(seq) for seq in range(1, 100)]
    for seq, picture in changes.items():
        update = ConversationUpdated(picture_media_id=picture)
        entries[seq - 1] = replace(entry(seq), change=update, fingerprint=update.fingerprint())
    title = ConversationUpdated("title")
    entries[49] = replace(entry(50), change=title, fingerprint=title.fingerprint())
    await log.append_batch([*entries, entry(1, BEFORE), entry(1, BEHIND)])
    assert await store.list_picture_changes(HERE, 100) == [
        PictureChange(2, referenced=True),
        PictureChange(40, referenced=False),
        PictureChange(60, referenced=True),
    ]
    assert await store.list_picture_changes(HERE, 59) == await store.list_picture_changes(HERE, 40)
    assert await store.list_picture_changes(BEFORE, 100) == []
    for _ in range(2):
        await store.release_pictures(HERE, [2])
    assert [each.referenced for each in await store.list_picture_changes(HERE, 100)] == [False, False, True]
    [released] = (await log.read_page(HERE, 2, 1)).entries
    assert released == entries[1], "the entry itself does not change"
    found = database["entries"].find(picture_changes_filter(HERE, 100)).sort("_id", 1).hint(PICTURES_INDEX)
    executed = (await found.explain())["executionStats"]
    assert (executed["nReturned"], executed["totalKeysExamined"], executed["totalDocsExamined"]) == (3, 3, 3)
