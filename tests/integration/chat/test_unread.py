"""Unread counts of many conversations at once are those of the summaries, as the log has the memberships."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from chat_service.directory import notifications
from chat_service.directory.notifications import BADGE_PAGE, NotificationContextReader
from chat_service.history.history import FetchedRange, History, RangeRequest
from chat_service.model.conversation import (
    Conversation,
    ConversationKind,
    ConversationMember,
    Interval,
    PastMembership,
    Watermark,
)
from chat_service.model.entry import EntryHeader, Message, Role
from chat_service.storage.accounts import MongoAccountStore
from chat_service.storage.change_index import RedisChangeIndex
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.log import MongoLog
from chat_service.storage.memberships import MongoMembershipStore
from chat_service.storage.relations import MongoBlockStore
from servicekit.clock import SystemClock
from servicekit.mongo import Database
from tests.integration.chat.conftest import ALICE, BOB, Owners
from tests.integration.chat.test_changes import entry, removed
from tests.integration.chat.test_visibility import create_orphaned_group

pytestmark = pytest.mark.integration

MESSAGE = Message(b"hello")


@pytest.fixture
def log(database: Database) -> MongoLog:
    return MongoLog(database)


@pytest.fixture
def history(database: Database, log: MongoLog, index: RedisChangeIndex) -> History:
    return History(log, MongoConversationStore(database), MongoMembershipStore(database), index)


@pytest.fixture
def reader(database: Database, log: MongoLog, history: History) -> NotificationContextReader:
    memberships, profiles = MongoMembershipStore(database), MongoAccountStore(database).load_profiles
    return NotificationContextReader(history, log, memberships, MongoBlockStore(database), profiles, SystemClock())


async def store_conversations(database: Database, log: MongoLog, count: int, *, former: bool = False) -> list[str]:
    """Store conversations of Bob with three messages each, of which he has read one to three; return their ids.

    With `former`, Bob has left them.
    """
    first = 1000 if former else 1
    ids = [f"{number:032x}" for number in range(first, first + count)]
    messages = [replace(entry(each, seq, MESSAGE), message_number=seq) for each in ids for seq in range(1, 4)]
    for start in range(0, len(messages), 1000):
        await log.append_batch(messages[start : start + 1000])
    store = MongoConversationStore(database)
    for number, conversation_id in enumerate(ids):
        read = number % 3 + 1
        member = ConversationMember(Role.MEMBER, 1, Watermark(read, read, read))
        conversation = Conversation(conversation_id, ConversationKind.GROUP, "t", 0, 1, {BOB: member, ALICE: member})
        await store.save(conversation)
        if former:
            left = Conversation(
                conversation_id,
                ConversationKind.GROUP,
                "t",
                0,
                3,
                {ALICE: member},
                {BOB: (PastMembership(Interval(1, 3)),)},
            )
            await store.save(left)
    return ids


async def test_counts_equal_those_of_summaries(database: Database, log: MongoLog, history: History) -> None:
    present = await store_conversations(database, log, 12)
    former = await store_conversations(database, log, 3, former=True)
    summaries, _ = await history.list_summaries(BOB, "", 100)
    assert [each.visible.conversation.conversation_id for each in summaries] == present + former
    counted = await history.count_unread(BOB, [*present, *former, "f" * 32])
    assert [each.visible.conversation.conversation_id for each in counted] == present
    assert [each.unread_count for each in counted] == [each.unread_count for each in summaries[:12]]
    assert {each.unread_count for each in counted} == {0, 1, 2}
    assert await history.count_unread(BOB, []) == []


async def test_own_messages_are_read_before_their_watermark_is_stored(
    database: Database, log: MongoLog, history: History
) -> None:
    [conversation] = await store_conversations(database, log, 1)
    own = replace(entry(conversation, 4, MESSAGE), message_number=4, actor_id=BOB)
    await log.append_batch([own])
    [fetched] = await history.read_ranges(BOB, [RangeRequest(conversation, 0, 100)])
    [counted] = await history.count_unread(BOB, [conversation])
    summary = await history.summarize(BOB, conversation)
    assert isinstance(fetched, FetchedRange)
    assert [each.unread_count for each in (fetched, counted, summary)] == [0, 0, 0]
    [other] = await history.read_ranges(ALICE, [RangeRequest(conversation, 3, 100)])
    assert isinstance(other, FetchedRange)
    assert other.unread_count == 1, "it counts for the other member, who wrote the message before it"


async def test_removal_in_the_log_alone_ends_the_count(owners: Owners, log: MongoLog, history: History) -> None:
    conversation = await create_orphaned_group(owners, log, removed(BOB), MESSAGE)
    assert await history.count_unread(BOB, [conversation]) == []
    [alice] = await history.count_unread(ALICE, [conversation])
    assert alice.member.role is Role.ADMIN


async def test_removal_during_the_count_is_respected(
    owners: Owners, log: MongoLog, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await create_orphaned_group(owners, log)
    meanwhile, read = [entry(conversation, 4, removed(BOB)), entry(conversation, 5, MESSAGE)], MongoLog.read_heads

    async def read_late(self: MongoLog, ids: Collection[str]) -> Mapping[str, EntryHeader]:
        assert await log.append_batch(meanwhile) is None
        return await read(self, ids)

    monkeypatch.setattr(MongoLog, "read_heads", read_late)
    assert await history.count_unread(BOB, [conversation]) == []


async def test_badge_counts_all_pages_up_to_the_bound(
    database: Database, log: MongoLog, reader: NotificationContextReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await store_conversations(database, log, 2 * BADGE_PAGE + 3)
    # Two, one and no unread messages in turn.
    unread = [2 - number % 3 for number in range(len(ids))]
    context = await reader.load_context(ids[0], ALICE, [BOB])
    assert context.recipients[0].badge_count == sum(unread)
    assert context.recipients[0].unread_count == 2
    monkeypatch.setattr(notifications, "MAX_BADGE_CONVERSATIONS", BADGE_PAGE)
    bounded = await reader.load_context(ids[-1], ALICE, [BOB])
    assert bounded.recipients[0].member, "counted by itself"
    assert bounded.recipients[0].unread_count == unread[-1] != unread[0]
    assert bounded.recipients[0].badge_count == sum(unread[:BADGE_PAGE])
    muted = {"mute_until_ms": time.time_ns() // 1_000_000 + 60_000}
    for conversation_id in ids[:3]:
        await MongoMembershipStore(database).update_settings(BOB, conversation_id, **muted)
    bounded = await reader.load_context(ids[0], ALICE, [BOB])
    assert bounded.recipients[0].badge_count == sum(unread[3:BADGE_PAGE])


async def test_badge_that_takes_long_to_count_is_that_of_the_conversation_alone(
    database: Database, log: MongoLog, reader: NotificationContextReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await store_conversations(database, log, 6)
    monkeypatch.setattr(notifications, "BADGE_TIME_S", 0.0)
    context = await reader.load_context(ids[1], ALICE, [BOB], newest_seq=3)
    [bob] = context.recipients
    assert (bob.member, bob.unread_count, bob.badge_count) == (True, 1, 1)


async def test_badge_is_counted_only_for_those_who_are_notified(
    database: Database, log: MongoLog, reader: NotificationContextReader
) -> None:
    read_to_1, read_to_2, _ = await store_conversations(database, log, 3)

    async def badge(conversation_id: str, newest_seq: int) -> int:
        context = await reader.load_context(conversation_id, ALICE, [BOB], (), newest_seq)
        [bob] = context.recipients
        assert bob.member
        return bob.badge_count

    assert [await badge(read_to_1, newest) for newest in (0, 1, 2, 3)] == [3, 0, 3, 3]
    assert [await badge(read_to_2, newest) for newest in (0, 1, 2, 3)] == [3, 0, 0, 3]
    await MongoBlockStore(database).block(BOB, ALICE)
    assert [await badge(read_to_1, newest) for newest in (0, 3)] == [3, 0]
    await MongoBlockStore(database).unblock(BOB, ALICE)
    muted = {"mute_until_ms": time.time_ns() // 1_000_000 + 60_000}
    await MongoMembershipStore(database).update_settings(BOB, read_to_1, **muted)
    assert [await badge(read_to_1, newest) for newest in (0, 3)] == [1, 0]
