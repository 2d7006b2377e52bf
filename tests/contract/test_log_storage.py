"""The contract of the log's document layout: no fork, one range read, and pages of a bounded size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chat_service.model.conversation import Interval
from chat_service.model.entry import (
    Change,
    ConversationUpdated,
    Entry,
    MembershipChanged,
    MembershipKind,
    Message,
    MessageDeleted,
    MessageEdited,
    ReactionChanged,
    Role,
)
from chat_service.model.stores import Conflict
from chat_service.storage.documents import entry_range
from chat_service.storage.log import PAGE_BYTES, MongoLog, heads_pipeline
from servicekit.mongo import Database
from tests.plans import explain_pipeline

pytestmark = pytest.mark.integration

CONVERSATION, OTHER, ALICE = "c" * 32, "d" * 32, "a" * 32


@pytest.fixture
async def log(database: Database) -> MongoLog:
    log = MongoLog(database)
    await log.ensure_indexes()
    await log.ensure_indexes()
    return log


def entry(seq: int, content: bytes = b"hello", conversation_id: str = CONVERSATION, number: int = 0) -> Entry:
    message = Message(content)
    request_id = (number or seq).to_bytes(16, "big")
    return Entry(conversation_id, seq, seq, 1000 + seq, ALICE, request_id, message, message.fingerprint())


async def test_appended_entries_are_read_unchanged(log: MongoLog) -> None:
    members = MembershipChanged(MembershipKind.CREATED, ((ALICE, Role.ADMIN), ("b" * 32, Role.MEMBER)))
    title = ConversationUpdated("Tschüß 👋")
    entries = [
        replace(entry(1), change=members, fingerprint=members.fingerprint()),
        replace(entry(2), change=title, fingerprint=title.fingerprint()),
        entry(3, "שלום".encode()),
    ]
    assert await log.append_batch(entries) is None
    assert list((await log.read_page(CONVERSATION, 1, 10)).entries) == entries
    assert list(await log.state_changes_after(CONVERSATION, 0)) == entries[:2]
    assert list(await log.state_changes_after(CONVERSATION, 1)) == entries[1:2]
    assert await log.count_messages(CONVERSATION, 2) == 2


async def test_mutations_are_read_without_contents_and_of_given_targets_only(log: MongoLog) -> None:
    changes: list[Change] = [
        MessageEdited(1, b"x" * 1000),
        MessageDeleted(2),
        ReactionChanged(1, "👍"),
        MessageEdited(3, b"other"),
    ]
    entries = [replace(entry(seq), change=each, fingerprint=b"") for seq, each in enumerate(changes, 4)]
    assert await log.append_batch([entry(1), entry(2), entry(3), *entries]) is None
    page = await log.read_mutations(CONVERSATION, Interval(4, 9), [Interval(1, 2)], 10)
    assert [each.change for each in page.entries] == [MessageEdited(1, b""), *changes[1:3]]
    assert page.reaches_head
    page = await log.read_mutations(CONVERSATION, Interval(5, 9), [Interval(1, 1), Interval(2, 2)], 1)
    assert ([each.seq for each in page.entries], page.reaches_head) == ([5], False)


async def test_repeated_batch_counts_as_appended(log: MongoLog) -> None:
    entries = [entry(1), entry(2), entry(1, conversation_id=OTHER)]
    assert await log.append_batch(entries[:2]) is None
    assert await log.append_batch(entries) is None
    assert (await log.read_head(CONVERSATION)).seq == 2
    assert (await log.read_head(OTHER)).seq == 1


async def test_taken_seq_stops_the_rest_of_the_batch(log: MongoLog) -> None:
    assert await log.append_batch([entry(1)]) is None
    rival = [entry(1, conversation_id=OTHER), entry(1, b"other", number=7), entry(2, number=8)]
    assert await log.append_batch(rival) == Conflict(1)
    assert (await log.read_head(OTHER)).seq == 1
    assert (await log.read_head(CONVERSATION)).seq == 1


async def test_taken_key_is_a_conflict(log: MongoLog) -> None:
    assert await log.append_batch([entry(1)]) is None
    assert await log.append_batch([entry(2, number=1)]) == Conflict(0)
    assert [each.seq for each in await log.find_by_keys(CONVERSATION, [entry(1).key, entry(9).key])] == [1]


async def test_empty_log_has_no_head(log: MongoLog) -> None:
    assert (await log.read_head(CONVERSATION)).seq == 0
    page = await log.read_page(CONVERSATION, 1, 10)
    assert page.reaches_head
    assert not page.entries


async def test_page_ends_at_its_entry_or_byte_limit(log: MongoLog) -> None:
    assert await log.append_batch([entry(seq, b"x" * (PAGE_BYTES // 4)) for seq in range(1, 11)]) is None
    page = await log.read_page(CONVERSATION, 1, 10)
    assert [each.seq for each in page.entries] == [1, 2, 3, 4, 5]
    assert not page.reaches_head
    assert not (await log.read_page(CONVERSATION, 1, 2)).reaches_head
    assert (await log.read_page(CONVERSATION, 9, 2)).reaches_head


async def test_messages_are_read_in_both_directions(log: MongoLog) -> None:
    title = ConversationUpdated("t")
    entries = [entry(1), replace(entry(2), change=title, fingerprint=title.fingerprint()), entry(3), entry(4)]
    await log.append_batch(entries)
    older = await log.read_messages(CONVERSATION, Interval(1, 3), 10, newest_first=True)
    assert [each.seq for each in older] == [3, 1]
    assert [each.seq for each in await log.read_messages(CONVERSATION, Interval(2, 10), 1, newest_first=False)] == [3]


async def test_range_is_one_clustered_index_scan(log: MongoLog, database: Database) -> None:
    await log.append_batch([entry(seq) for seq in range(1, 50)])
    found = database["entries"].find(entry_range(CONVERSATION, 10, 19)).sort("_id", 1).hint({"_id": 1})
    plan = await found.explain()
    assert plan["queryPlanner"]["winningPlan"]["stage"] == "CLUSTERED_IXSCAN"
    assert plan["executionStats"]["totalDocsExamined"] <= 11


async def test_same_send_at_same_seq_by_another_owner_is_a_conflict(log: MongoLog) -> None:
    first = entry(1)
    await log.append_batch([first])
    # Two owners received the send and assigned the same seq; only one of them wrote the entry.
    assert await log.append_batch([replace(first, time_ms=first.time_ms + 1)]) == Conflict(0)


async def test_heads_of_many_logs_are_read_at_once(log: MongoLog, database: Database) -> None:
    ids = [f"{number:032x}" for number in range(100)]
    await log.append_batch([entry(seq, conversation_id=each) for each in ids for seq in range(1, 4)])
    heads = await log.read_heads([*ids, CONVERSATION])
    assert heads == {each: (await log.read_tail(each, 1))[0] for each in ids}
    assert await log.read_heads([]) == {}
    # Explain does not execute the pipelines of unions: their plan is that of the first.
    execution = await explain_pipeline(database, "entries", heads_pipeline(ids[:1]), None)
    assert "CLUSTERED_IXSCAN" in execution.stages
    assert "COLLSCAN" not in execution.stages
    assert execution.documents <= 2
