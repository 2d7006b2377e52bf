"""The storage of messages that a user has hidden."""

from __future__ import annotations

import pytest

from chat_service.model.conversation import MAX_HIDDEN, Conversation, ConversationKind, ConversationMember
from chat_service.model.entry import Role
from chat_service.model.ids import direct_id
from chat_service.storage.memberships import MongoMembershipStore
from servicekit.mongo import Database
from tests.integration.chat.conftest import ALICE, BOB

pytestmark = pytest.mark.integration


async def test_removed_messages_free_hidden_slots(database: Database) -> None:
    memberships, identifier = MongoMembershipStore(database), direct_id(ALICE, BOB)
    members = {user: ConversationMember(Role.MEMBER, 1) for user in (ALICE, BOB)}
    await memberships.add_members(Conversation(identifier, ConversationKind.DIRECT, "", 0, 1, members))
    await memberships.update_settings(ALICE, identifier, hidden=list(range(2, MAX_HIDDEN + 2)))
    assert not await memberships.hide_message(ALICE, identifier, 5000, 1)
    assert await memberships.hide_message(ALICE, identifier, 5000, MAX_HIDDEN)
    personal = await memberships.load_settings(ALICE, [identifier])
    assert personal[identifier].hidden == (MAX_HIDDEN, MAX_HIDDEN + 1, 5000)
