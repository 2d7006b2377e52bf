"""The contract of conversation documents: two versions of servers share them, and a late write changes no later one."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from chat_service.model.conversation import (
    MAX_PAST_MEMBERS,
    Conversation,
    ConversationKind,
    ConversationMember,
    Interval,
    PastMembership,
    Watermark,
)
from chat_service.model.entry import Role
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.documents import encode_id
from servicekit.mongo import Database

pytestmark = pytest.mark.integration

ALICE, BOB = "a" * 32, "b" * 32
GROUP: Final = Conversation(
    "c" * 32,
    ConversationKind.GROUP,
    "t",
    0,
    20,
    members={ALICE: ConversationMember(Role.ADMIN, 1)},
    past_memberships={BOB: (PastMembership(Interval(1, 4), 0, 3), PastMembership(Interval(9, 12), 6, 8))},
)


async def load_past(database: Database) -> tuple[PastMembership, ...]:
    conversation = await MongoConversationStore(database).load(GROUP.conversation_id)
    assert conversation is not None
    return conversation.past_memberships[BOB]


async def test_past_memberships_are_stored_in_the_form_that_earlier_versions_read(database: Database) -> None:
    await MongoConversationStore(database).save(GROUP)
    document = await database["conversations"].find_one({"_id": encode_id(GROUP.conversation_id)})
    assert document is not None
    assert document["past"] == {BOB: [[1, 4], [9, 12]]}
    assert await load_past(database) == GROUP.past_memberships[BOB]


async def test_membership_that_an_earlier_version_ended_counts_as_read(database: Database) -> None:
    await MongoConversationStore(database).save(GROUP)
    await database["conversations"].update_one({}, {"$push": {f"past.{BOB}": [15, 17]}})
    assert await load_past(database) == (*GROUP.past_memberships[BOB], PastMembership(Interval(15, 17), 0, 0))


async def test_late_cleanup_of_watermarks_keeps_those_of_new_members(database: Database) -> None:
    joined = ConversationMember(Role.MEMBER, 21, Watermark(20, 20, 9))
    former = {f"{number:032x}": (PastMembership(Interval(1, 2)),) for number in range(MAX_PAST_MEMBERS)}
    full = replace(GROUP, past_memberships=former)
    later = replace(full, applied_seq=21, members={**full.members, BOB: joined})

    class OvertakenStore(MongoConversationStore):
        """A store of an owner that freezes before the cleanup, while the next owner stores a later state."""

        async def _remove_unused_marks(self, conversation: Conversation) -> None:
            await MongoConversationStore(database).save(later)
            await super()._remove_unused_marks(conversation)

    await OvertakenStore(database).save(full)
    stored = await MongoConversationStore(database).load(GROUP.conversation_id)
    assert stored is not None
    assert stored.members[BOB].watermark == joined.watermark
