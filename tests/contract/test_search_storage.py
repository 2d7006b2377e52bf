"""The contract of the word index: pages in order over many conversations, visible ranges, and current content."""

from __future__ import annotations

from typing import Any

import pytest

from chat_service.history.message_search import HIGHEST_RANK, Rank, SearchHit, SearchScope
from chat_service.model.conversation import (
    Conversation,
    ConversationKind,
    ConversationMember,
    Interval,
    PastMembership,
)
from chat_service.model.entry import LAST_SEQ, Change, Entry, Message, MessageDeleted, MessageEdited, Role
from chat_service.model.words import MessageQuery
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.log import MongoLog
from chat_service.storage.word_index import WORD_INDEX, MongoWordIndex, _condition
from chat_service.wire.entries import extract_words
from parley.chat.v1 import entry_pb2
from servicekit.mongo import Database

pytestmark = pytest.mark.integration

ALICE, BOB = "a" * 32, "b" * 32
CONVERSATIONS = [f"{number:032x}" for number in range(1, 4)]
ONE, TWO, THREE = CONVERSATIONS
ALL = tuple(SearchScope(each, (Interval(1, LAST_SEQ),)) for each in CONVERSATIONS)


@pytest.fixture
async def log(database: Database) -> MongoLog:
    log = MongoLog(database, extract_words)
    await log.ensure_indexes()
    return log


@pytest.fixture
async def search(database: Database, log: MongoLog) -> MongoWordIndex:
    search = MongoWordIndex(database)
    await search.ensure_indexes()
    await search.ensure_indexes()
    return search


def message_entry(conversation_id: str, seq: int, body: str, time_ms: int = 0) -> Entry:
    return entry(conversation_id, seq, Message(content(body)), time_ms)


def content(body: str) -> bytes:
    return entry_pb2.Content(text=entry_pb2.Text(body=body)).SerializeToString()


def entry(conversation_id: str, seq: int, change: Change, time_ms: int = 0) -> Entry:
    time_ms = time_ms or 1_700_000_000_000 + seq
    return Entry(conversation_id, seq, seq, time_ms, ALICE, seq.to_bytes(16, "big"), change, change.fingerprint())


async def find(
    search: MongoWordIndex, query: str, scopes: Any = ALL, below: Rank = HIGHEST_RANK, limit: int = 10
) -> Any:
    return positions(await search.find_hits(scopes, MessageQuery.of(query), below, limit))


def positions(hits: list[SearchHit]) -> list[tuple[str, int]]:
    return [(each.entry.conversation_id, each.entry.seq) for each in hits]


async def test_all_words_must_occur_in_any_order(log: MongoLog, search: MongoWordIndex) -> None:
    await log.append_batch(
        [message_entry(ONE, 1, "The red door"), message_entry(TWO, 2, "a door, red"), message_entry(ONE, 2, "red")]
    )
    assert await find(search, "red door ") == [(TWO, 2), (ONE, 1)]
    assert await find(search, "RED ") == [(TWO, 2), (ONE, 2), (ONE, 1)]
    assert await find(search, "red blue ") == []


async def test_last_word_matches_as_prefix(log: MongoLog, search: MongoWordIndex) -> None:
    await log.append_batch(
        [message_entry(ONE, 1, "the red doors"), message_entry(ONE, 2, "doorway"), message_entry(ONE, 3, "dog")]
    )
    assert await find(search, "door") == [(ONE, 2), (ONE, 1)]
    assert await find(search, "red door") == [(ONE, 1)]
    assert await find(search, "door ") == []
    assert await find(search, "do") == []


async def test_text_without_spaces_is_found_by_any_part(log: MongoLog, search: MongoWordIndex) -> None:
    await log.append_batch([message_entry(ONE, 1, "我在北京大学"), message_entry(ONE, 2, "北方")])
    assert await find(search, "北京") == [(ONE, 1)]
    assert await find(search, "北") == [(ONE, 2), (ONE, 1)]
    assert await find(search, "学") == [(ONE, 1)]
    assert await find(search, "京大学") == [(ONE, 1)]


async def test_pages_are_complete_when_times_are_equal(log: MongoLog, search: MongoWordIndex) -> None:
    now = 1_700_000_000_000
    await log.append_batch(
        [message_entry(each, seq, "tie", now + seq // 3) for each in CONVERSATIONS for seq in range(1, 11)]
    )
    below, pages = HIGHEST_RANK, list[SearchHit]()
    while page := await search.find_hits(ALL, MessageQuery.of("tie"), below, 4):
        pages += page
        below = page[-1].rank
    ranks = [each.rank for each in pages]
    assert ranks == sorted(ranks, reverse=True)
    assert sorted(positions(pages)) == [(each, seq) for each in CONVERSATIONS for seq in range(1, 11)]
    times = [each.entry.time_ms for each in pages]
    assert times == sorted(times, reverse=True)


async def test_search_stays_within_visible_intervals(log: MongoLog, search: MongoWordIndex) -> None:
    await log.append_batch([message_entry(each, seq, "secret") for each in (ONE, TWO) for seq in range(1, 8)])
    scopes = [
        SearchScope(ONE, (Interval(2, 3), Interval(6, LAST_SEQ)), hidden=(6,)),
        SearchScope(TWO, (Interval(1, 1),)),
    ]
    assert sorted(await find(search, "secret", scopes)) == [(ONE, 2), (ONE, 3), (ONE, 7), (TWO, 1)]


async def test_edited_message_is_found_by_new_text_and_deleted_message_not_found(
    log: MongoLog, search: MongoWordIndex
) -> None:
    await log.append_batch([message_entry(ONE, 1, "red"), message_entry(ONE, 2, "…"), message_entry(ONE, 3, "red")])
    await log.apply_mutations(
        [entry(ONE, 4, MessageEdited(1, content("blue"))), entry(ONE, 5, MessageEdited(2, content("red")))]
    )
    await log.apply_mutations([entry(ONE, 6, MessageDeleted(3))])
    assert await find(search, "red") == [(ONE, 2)]
    assert await find(search, "blue") == [(ONE, 1)]
    await log.apply_mutations([entry(ONE, 7, MessageEdited(1, content("?!")))])
    assert await find(search, "blue") == []


async def test_captions_locations_and_contacts_are_found(log: MongoLog, search: MongoWordIndex) -> None:
    media = entry_pb2.MediaReference(media_id="0" * 32, caption="Holiday photo")
    kinds = [
        entry_pb2.Content(media=media),
        entry_pb2.Content(location=entry_pb2.Location(name="Holiday inn")),
        entry_pb2.Content(contact_card=entry_pb2.ContactCard(display_name="Billie Holiday", vcard="TEL:tango")),
        entry_pb2.Content(custom=entry_pb2.CustomPayload(content_type="text/holiday", payload=b"holiday")),
    ]
    await log.append_batch([entry(ONE, seq, Message(each.SerializeToString())) for seq, each in enumerate(kinds, 1)])
    assert await find(search, "holiday") == [(ONE, 3), (ONE, 2), (ONE, 1)]
    assert await find(search, "tango") == []


async def test_visible_intervals_are_returned_per_conversation(database: Database, search: MongoWordIndex) -> None:
    members, past = (
        {ALICE: ConversationMember(Role.MEMBER, 5)},
        {
            ALICE: (PastMembership(Interval(1, 3)),),
            BOB: (PastMembership(Interval(1, 8)),),
        },
    )
    await MongoConversationStore(database).save(
        Conversation(ONE, ConversationKind.GROUP, "t", 0, 8, members=members, past_memberships=past)
    )
    assert await search.visible_intervals(ALICE, CONVERSATIONS) == {ONE: (Interval(1, 3), Interval(5, LAST_SEQ))}
    assert await search.visible_intervals(BOB, [ONE]) == {ONE: (Interval(1, 8),)}
    assert await search.visible_intervals("c" * 32, [ONE, TWO]) == {}


async def test_page_over_many_conversations_examines_few_documents(
    log: MongoLog, database: Database, search: MongoWordIndex
) -> None:
    ids = [f"{number:032x}" for number in range(1, 101)]
    await log.append_batch([message_entry(each, seq, "common words") for each in ids for seq in range(1, 11)])
    condition = _condition(
        [SearchScope(each, (Interval(1, LAST_SEQ),)) for each in ids], MessageQuery.of("common words "), HIGHEST_RANK
    )
    plan = await database["entries"].find(condition).sort("o", -1).hint(WORD_INDEX).limit(20).explain()
    assert plan["executionStats"]["nReturned"] == 20
    assert plan["executionStats"]["totalDocsExamined"] <= 40
    assert plan["executionStats"]["totalKeysExamined"] <= 300


async def test_log_without_tokenizer_stores_no_words(database: Database, search: MongoWordIndex) -> None:
    await MongoLog(database).append_batch([message_entry(ONE, 1, "red")])
    assert await find(search, "red") == []
    assert "w" not in (await database["entries"].find_one({}) or {"w": 1})
