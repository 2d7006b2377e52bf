"""The log alone decides what users see, even when its owner died before it wrote any other store."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chat_service.history.history import FetchedRange, History, RangeRequest
from chat_service.history.message_search import HIGHEST_RANK, MessageSearch
from chat_service.history.visibility import VisibilityResolver
from chat_service.model.entry import Change, Entry, Message
from chat_service.model.stores import LogPage
from chat_service.model.words import MessageQuery
from chat_service.storage.change_index import RedisChangeIndex
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.log import MongoLog
from chat_service.storage.memberships import MongoMembershipStore
from chat_service.storage.word_index import MongoWordIndex
from servicekit.mongo import Database
from tests.integration.chat.conftest import ALICE, BOB, Owners, draft, seq_of
from tests.integration.chat.test_changes import added, entry, group, removed

pytestmark = pytest.mark.integration


def words_of(content: bytes) -> list[str]:
    return content.decode().split()


@pytest.fixture
def log(database: Database) -> MongoLog:
    return MongoLog(database, words_of)


@pytest.fixture
def history(database: Database, log: MongoLog, index: RedisChangeIndex) -> History:
    return History(log, MongoConversationStore(database), MongoMembershipStore(database), index)


async def create_orphaned_group(owners: Owners, log: MongoLog, *changes: Change) -> str:
    """Create a group of Alice and Bob whose owner died right after it appended `changes`; return its id."""
    running = await owners.start()
    conversation = await group(running)
    last = seq_of(await running.append(draft(conversation, ALICE, "before")))
    await log.append_batch([entry(conversation, last + number, each) for number, each in enumerate(changes, 1)])
    return conversation


async def visible_seqs(history: History, conversation: str, after: int = 0) -> tuple[list[int], int]:
    [found] = await history.read_ranges(BOB, [RangeRequest(conversation, after, 100)])
    assert isinstance(found, FetchedRange)
    assert found.complete
    return [each.seq for each in found.entries], found.head_seq


async def test_removed_member_does_not_see_later_entries(
    owners: Owners, database: Database, log: MongoLog, history: History
) -> None:
    await MongoWordIndex(database).ensure_indexes()
    conversation = await create_orphaned_group(owners, log, removed(BOB), Message(b"secret"))
    # Two entries create the group; a message, the removal and a message without Bob follow.
    assert await visible_seqs(history, conversation) == ([1, 2, 3, 4], 4)
    assert await visible_seqs(history, conversation, 4) == ([], 4)
    messages = await history.list_messages(BOB, conversation, before_seq=0, after_seq=0, limit=10)
    assert [each.seq for each in messages] == [3]
    assert (await history.summarize(BOB, conversation)).head_seq == 4
    [overview], _ = await history.list_summaries(BOB, "", 10)
    assert (overview.head_seq, list(overview.visible.conversation.members)) == (4, [])
    memberships = MongoMembershipStore(database)
    search = MessageSearch(
        MongoWordIndex(database), memberships, VisibilityResolver(log, MongoConversationStore(database), memberships)
    )
    assert not await search.search(BOB, "", [MessageQuery.of("secret")], HIGHEST_RANK, 10)
    assert await search.search(ALICE, "", [MessageQuery.of("secret")], HIGHEST_RANK, 10)


async def test_readded_member_sees_later_entries(owners: Owners, log: MongoLog, history: History) -> None:
    conversation = await create_orphaned_group(
        owners, log, removed(BOB), Message(b"secret"), added(BOB), Message(b"welcome")
    )
    assert await visible_seqs(history, conversation) == ([1, 2, 3, 4, 6, 7], 7)


async def test_removal_during_read_is_respected(
    owners: Owners, log: MongoLog, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await create_orphaned_group(owners, log)
    read, meanwhile = (
        MongoLog.read_page,
        [entry(conversation, 4, removed(BOB)), entry(conversation, 5, Message(b"secret"))],
    )

    async def read_late(self: MongoLog, conversation_id: str, first: int, limit: int, last: int) -> LogPage:
        await _append_once(log, meanwhile)
        return await read(self, conversation_id, first, limit, last)

    monkeypatch.setattr(MongoLog, "read_page", read_late)
    # The device has already fetched up to the removal, so the read range does not contain it.
    assert await visible_seqs(history, conversation, 4) == ([], 4)


async def _append_once(log: MongoLog, entries: Sequence[Entry]) -> None:
    assert await log.append_batch(entries) is None
