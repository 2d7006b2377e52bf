"""Access to media as the log has it, also when an owner died before it wrote any other store."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chat_service.directory import media_access
from chat_service.directory.media_access import MediaAccess
from chat_service.history.message_search import SearchScope
from chat_service.history.visibility import VisibilityResolver
from chat_service.model.entry import ConversationUpdated, Message
from chat_service.retention.ports import EntryPosition
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.log import MongoLog
from chat_service.storage.media_references import MongoMediaReferences
from chat_service.storage.memberships import MongoMembershipStore
from chat_service.storage.retention import MongoRetentionStore
from chat_service.wire.entries import extract_media
from parley.chat.v1 import entry_pb2
from servicekit.mongo import Database
from tests.integration.chat.conftest import ALICE, BOB, CAROL, Owners
from tests.integration.chat.test_changes import entry, removed
from tests.integration.chat.test_visibility import create_orphaned_group

pytestmark = pytest.mark.integration

CAT, DOG = "ca" * 16, "d0" * 16
CAT_SENT = Message(entry_pb2.Content(media=entry_pb2.MediaReference(media_id=CAT)).SerializeToString())


@pytest.fixture
def log(database: Database) -> MongoLog:
    return MongoLog(database, extract_media=extract_media)


@pytest.fixture
async def access(database: Database, log: MongoLog) -> MediaAccess:
    references, memberships = MongoMediaReferences(database), MongoMembershipStore(database)
    await references.ensure_indexes()
    return MediaAccess(references, memberships, VisibilityResolver(log, MongoConversationStore(database), memberships))


async def test_removal_in_the_log_alone_ends_access(owners: Owners, log: MongoLog, access: MediaAccess) -> None:
    await create_orphaned_group(owners, log, removed(BOB), CAT_SENT)
    assert [await access.is_allowed(user, CAT) for user in (ALICE, BOB, CAROL)] == [True, False, False]


async def test_removal_during_the_check_is_respected(
    owners: Owners, log: MongoLog, access: MediaAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An earlier picture makes the conversation a candidate before the message is there.
    changes = (ConversationUpdated(picture_media_id=CAT), ConversationUpdated(picture_media_id=""))
    conversation = await create_orphaned_group(owners, log, *changes)
    assert not await access.is_allowed(BOB, CAT)
    meanwhile, check = [entry(conversation, 6, removed(BOB)), entry(conversation, 7, CAT_SENT)], 0
    find = MongoMediaReferences.is_in_scopes

    async def find_late(self: MongoMediaReferences, media_id: str, scopes: Sequence[SearchScope]) -> bool:
        nonlocal check
        check += 1
        assert await log.append_batch(meanwhile) is None
        return await find(self, media_id, scopes)

    monkeypatch.setattr(MongoMediaReferences, "is_in_scopes", find_late)
    assert not await access.is_allowed(BOB, CAT)
    assert check == 2, "found once, and checked again"
    assert await access.is_allowed(ALICE, CAT)


async def test_access_ends_when_retention_begins_to_remove(
    owners: Owners, log: MongoLog, access: MediaAccess, database: Database
) -> None:
    conversation = await create_orphaned_group(owners, log, CAT_SENT)
    assert await access.is_allowed(BOB, CAT)
    await MongoRetentionStore(database).raise_first_seq(conversation, EntryPosition(4, 2, 0), expired=True)
    assert not await access.is_allowed(BOB, CAT)
    assert await access.filter_referenced([CAT]) == [CAT], "until the content is removed"


async def test_group_picture_in_the_log_alone_is_seen(owners: Owners, log: MongoLog, access: MediaAccess) -> None:
    conversation = await create_orphaned_group(owners, log, ConversationUpdated(picture_media_id=CAT))
    assert await access.is_allowed(BOB, CAT)
    await log.append_batch([entry(conversation, 5, ConversationUpdated(picture_media_id=DOG))])
    assert [await access.is_allowed(BOB, each) for each in (CAT, DOG)] == [False, True]


@pytest.mark.parametrize(("page", "batch"), [(2, 10), (10, 1), (1, 1)])
async def test_every_conversation_of_the_user_is_checked(
    owners: Owners, log: MongoLog, access: MediaAccess, monkeypatch: pytest.MonkeyPatch, page: int, batch: int
) -> None:
    monkeypatch.setattr(media_access, "CONVERSATIONS_PAGE", page)
    monkeypatch.setattr(media_access, "RESOLVED_BATCH", batch)
    *left, last = sorted([await create_orphaned_group(owners, log) for _ in range(4)])
    for conversation in left:
        await log.append_batch([entry(conversation, 4, removed(BOB)), entry(conversation, 5, CAT_SENT)])
    assert not await access.is_allowed(BOB, CAT)
    await log.append_batch([entry(last, 4, CAT_SENT)])
    assert await access.is_allowed(BOB, CAT)
