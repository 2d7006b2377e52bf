"""The contract of the media index: references follow the content of the log, and are read from an index alone."""

from __future__ import annotations

from typing import Any

import pytest

from chat_service.accounts.account import Account, Profile
from chat_service.history.message_search import SearchScope
from chat_service.model.conversation import Conversation, ConversationKind, ConversationMember, Interval
from chat_service.model.entry import (
    LAST_SEQ,
    Change,
    ConversationUpdated,
    Entry,
    Message,
    MessageDeleted,
    MessageEdited,
    ReactionChanged,
    Role,
)
from chat_service.storage import media_references
from chat_service.storage.accounts import MongoAccountStore
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.documents import encode_id
from chat_service.storage.log import MongoLog
from chat_service.storage.media_references import (
    MEDIA_INDEX,
    PICTURE_INDEX,
    MongoMediaReferences,
    distinct_pipeline,
    scopes_filter,
)
from chat_service.storage.retention import MongoRetentionStore
from chat_service.wire.entries import extract_media, extract_words
from parley.chat.v1 import entry_pb2
from servicekit.mongo import Database
from tests.plans import explain_pipeline

pytestmark = pytest.mark.integration

ALICE = "a" * 32
ONE, TWO, THREE = (f"{number:032x}" for number in range(1, 4))
CAT, DOG, OWL = "ca" * 16, "d0" * 16, "0e" * 16
EVERYTHING = (Interval(1, LAST_SEQ),)


@pytest.fixture
async def log(database: Database) -> MongoLog:
    log = MongoLog(database, extract_words, extract_media)
    await log.ensure_indexes()
    return log


@pytest.fixture
async def references(database: Database, log: MongoLog) -> MongoMediaReferences:
    references = MongoMediaReferences(database)
    await references.ensure_indexes()
    await references.ensure_indexes()
    return references


def media(media_id: str) -> bytes:
    return entry_pb2.Content(media=entry_pb2.MediaReference(media_id=media_id)).SerializeToString()


TEXT = entry_pb2.Content(text=entry_pb2.Text(body="no file")).SerializeToString()


def entry(seq: int, change: Change, conversation_id: str = ONE) -> Entry:
    return Entry(conversation_id, seq, seq, 1000 + seq, ALICE, seq.to_bytes(16, "big"), change, change.fingerprint())


async def append(log: MongoLog, *changes: Change, conversation_id: str = ONE, first: int = 1) -> None:
    """Append changes to a log and apply them, as an owner does."""
    entries = [entry(seq, change, conversation_id) for seq, change in enumerate(changes, first)]
    assert await log.append_batch(entries) is None
    await log.apply_mutations(entries)


async def is_shown(references: MongoMediaReferences, media_id: str, *intervals: Interval, **scope: Any) -> bool:
    return await references.is_in_scopes(media_id, [SearchScope(ONE, intervals or EVERYTHING, **scope)])


async def assert_references_follow_content(database: Database) -> None:
    """Assert that an entry refers to the media of its content, and to none without a content."""
    async for document in database["entries"].find({"y": {"$in": [10, 11]}}):
        media_id = extract_media(document.get("b", b""))
        assert document.get("f", b"").hex() == media_id, document


async def test_reference_follows_message_through_edits_and_deletion(
    log: MongoLog, references: MongoMediaReferences, database: Database
) -> None:
    await append(log, Message(media(CAT)), Message(TEXT), Message(media(CAT)))
    assert await is_shown(references, CAT)
    assert await references.filter_referenced([DOG, CAT]) == {CAT}
    edits = [MessageEdited(1, media(DOG)), MessageEdited(3, TEXT), MessageEdited(2, media(OWL))]
    await append(log, *edits, first=4)
    assert await references.filter_referenced([DOG, CAT, OWL]) == {DOG, OWL}
    assert not await is_shown(references, CAT)
    assert await is_shown(references, DOG)
    # An owner that loads the conversation applies the edits again.
    await append(log, MessageDeleted(1), first=7)
    await log.apply_mutations([entry(4, edits[0]), entry(8, ReactionChanged(1, "👍"))])
    await assert_references_follow_content(database)
    assert await references.filter_referenced([DOG, CAT, OWL]) == {OWL}
    assert not await is_shown(references, DOG)
    await append(log, MessageEdited(2, media(CAT)), MessageEdited(2, TEXT), first=9)
    await log.apply_mutations([entry(9, MessageEdited(2, media(CAT)))])
    await assert_references_follow_content(database)
    assert await references.filter_referenced([DOG, CAT, OWL]) == set()


async def test_edit_that_is_not_applied_yet_is_a_reference_but_not_shown(
    log: MongoLog, references: MongoMediaReferences
) -> None:
    await append(log, Message(media(CAT)))
    assert await log.append_batch([entry(2, MessageEdited(1, media(DOG)))]) is None
    assert await references.filter_referenced([CAT, DOG]) == {CAT, DOG}
    assert not await is_shown(references, DOG)


async def test_retention_removes_references_with_the_content(
    log: MongoLog, references: MongoMediaReferences, database: Database
) -> None:
    await append(log, Message(media(CAT)), Message(media(DOG)), Message(media(OWL)), MessageEdited(1, media(OWL)))
    assert await references.filter_referenced([CAT, DOG, OWL]) == {DOG, OWL}
    retention = MongoRetentionStore(database)
    await retention.remove_content(ONE, 1, 2)
    await log.apply_mutations([entry(4, MessageEdited(1, media(OWL)))])
    await assert_references_follow_content(database)
    assert await references.filter_referenced([CAT, DOG, OWL]) == {OWL}
    await retention.remove_content(ONE, 3, 3)
    assert await references.filter_referenced([CAT, DOG, OWL]) == set()


async def test_message_is_shown_within_the_scope_only(log: MongoLog, references: MongoMediaReferences) -> None:
    await append(log, Message(TEXT), Message(media(CAT)), Message(TEXT), Message(media(DOG)))
    assert await is_shown(references, CAT, Interval(2, 2))
    assert await is_shown(references, CAT, Interval(1, 1), Interval(4, LAST_SEQ)) is False
    assert await is_shown(references, DOG, Interval(1, 1), Interval(4, LAST_SEQ))
    assert await is_shown(references, CAT, hidden=(2,)) is False
    assert await is_shown(references, DOG, hidden=(2,))
    # An edit that the user may not see leaves the message without content.
    await append(log, MessageEdited(2, media(OWL)), first=5)
    assert await is_shown(references, OWL)
    assert await is_shown(references, OWL, Interval(1, 4)) is False
    assert await is_shown(references, OWL, Interval(1, 4), Interval(6, LAST_SEQ)) is False
    assert await references.is_in_scopes(CAT, []) is False
    assert await references.is_in_scopes(CAT, [SearchScope(ONE, ())]) is False


async def test_conversations_that_refer_are_found_among_those_of_the_user(
    log: MongoLog, references: MongoMediaReferences, database: Database
) -> None:
    await append(log, Message(media(CAT)), Message(media(CAT)))
    await append(log, ConversationUpdated(picture_media_id=CAT), conversation_id=TWO)
    await append(log, Message(media(DOG)), conversation_id=THREE)
    assert await references.filter_conversations(CAT, [ONE, TWO, THREE]) == {ONE, TWO}
    assert await references.filter_conversations(CAT, [TWO, THREE]) == {TWO}
    assert await references.filter_conversations(DOG, [ONE, TWO]) == set()
    # A change of the picture is no message.
    assert not await references.is_in_scopes(CAT, [SearchScope(TWO, EVERYTHING)])
    # Retention removed the entry that set the picture.
    await save_group(database, THREE, CAT)
    assert await references.filter_conversations(CAT, [THREE]) == {THREE}


async def save_group(database: Database, conversation_id: str, picture: str, seq: int = 1) -> None:
    members = {ALICE: ConversationMember(Role.MEMBER, 1)}
    conversation = Conversation(conversation_id, ConversationKind.GROUP, "t", 0, seq, members, picture_media_id=picture)
    await MongoConversationStore(database).save(conversation)


async def test_present_pictures_are_references(references: MongoMediaReferences, database: Database) -> None:
    accounts = MongoAccountStore(database)
    account = Account(Profile(ALICE, "alice", "Alice", CAT), "hash", 17)
    await accounts.insert(account)
    await accounts.insert(Account(Profile("b" * 32, "bob", "Bob"), "hash", 17))
    await save_group(database, ONE, DOG)
    assert await references.filter_referenced([CAT, DOG, OWL]) == {CAT, DOG}
    assert await references.is_profile_picture(CAT)
    assert not await references.is_profile_picture(DOG)
    changed = Account(Profile(ALICE, "alice", "Alice", OWL), "hash", 17)
    assert await accounts.update(account, changed, None)
    await save_group(database, ONE, "", seq=2)
    assert await references.filter_referenced([CAT, DOG, OWL]) == {OWL}
    assert not await references.is_profile_picture(CAT)
    await accounts.mark_deleting(ALICE, 18)
    assert not await references.is_profile_picture(OWL)
    assert await references.filter_referenced([CAT, DOG, OWL]) == set()
    assert (await accounts.load_profiles([ALICE])) == {}


async def test_file_forwarded_to_many_conversations_costs_no_more(
    log: MongoLog, references: MongoMediaReferences, database: Database
) -> None:
    others = [f"{number:032x}" for number in range(100, 300)]
    for conversation_id in others:
        await append(log, Message(media(CAT)), Message(media(CAT)), conversation_id=conversation_id)
    await append(log, Message(media(CAT)), ConversationUpdated("title"), Message(TEXT), Message(media(CAT)))
    await save_group(database, ONE, CAT)
    await MongoAccountStore(database).insert(Account(Profile(ALICE, "alice", "Alice", CAT), "hash", 17))
    mine = {"f": encode_id(CAT), "c": {"$in": [encode_id(each) for each in (ONE, TWO, THREE)]}}
    files = {"f": {"$in": [encode_id(each) for each in (CAT, DOG, OWL)]}}
    pictures = {"picture": {"$in": [CAT, DOG, OWL]}}
    for collection, field, condition, index in (
        ("entries", "c", mine, MEDIA_INDEX),
        ("entries", "f", files, MEDIA_INDEX),
        ("conversations", "picture", pictures, PICTURE_INDEX),
        ("users", "picture", pictures, PICTURE_INDEX),
    ):
        execution = await explain_pipeline(database, collection, distinct_pipeline(field, condition), index)
        assert "DISTINCT_SCAN" in execution.stages
        assert 0 < execution.keys <= 6
        assert execution.documents == 0
    scopes = [
        SearchScope(ONE, (Interval(3, 3), Interval(5, LAST_SEQ)), hidden=(4, 8)),
        SearchScope(others[7], (Interval(2, LAST_SEQ),)),
    ]
    found = database["entries"].find(scopes_filter(CAT, scopes)).hint(MEDIA_INDEX).limit(1)
    executed = (await found.explain())["executionStats"]
    assert executed["nReturned"] == 1
    assert executed["totalDocsExamined"] == 1
    assert executed["totalKeysExamined"] <= 6
    pictured = {"picture": CAT, "_id": {"$in": [encode_id(each) for each in (ONE, TWO)]}}
    executed = (await database["conversations"].find(pictured, {"_id": 1}).hint(PICTURE_INDEX).explain())[
        "executionStats"
    ]
    assert (executed["nReturned"], executed["totalDocsExamined"]) == (1, 0)


@pytest.mark.parametrize("collection", ["conversations", "users"])
async def test_file_that_moves_while_references_are_listed_stays_referenced(
    log: MongoLog,
    references: MongoMediaReferences,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    collection: str,
) -> None:
    """A picture that has become a message is found, though the log was read before that and the pictures after it."""
    if collection == "users":
        await MongoAccountStore(database).insert(Account(Profile(ALICE, "alice", "Alice", CAT), "hash", 17))
    else:
        await save_group(database, ONE, CAT)
    read = media_references._distinct

    async def read_then_move(entries: Any, field: str, *arguments: Any) -> set[Any]:
        found = await read(entries, field, *arguments)
        if field == "f":
            await append(log, Message(media(CAT)), conversation_id=TWO)
            await database[collection].update_many({}, {"$set": {"picture": ""}})
        return found

    monkeypatch.setattr(media_references, "_distinct", read_then_move)
    assert await references.filter_referenced([CAT, DOG]) == {CAT}
    assert await references.is_profile_picture(CAT) is False
