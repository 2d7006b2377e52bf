"""Messages taken out of a user's own view, as they are kept."""

from __future__ import annotations

import pytest

from chat_service.model.conversation import Conversation, ConversationKind, Member
from chat_service.model.entry import Role
from chat_service.model.ids import direct_id
from chat_service.model.personal import MOST_HIDDEN
from chat_service.storage.memberships import MongoMemberships
from chat_service.storage.mongo import Database
from tests.integration.chat.conftest import ALICE, BOB

pytestmark = pytest.mark.integration


async def test_what_is_kept_no_more_makes_room(database: Database) -> None:
    memberships, identifier = MongoMemberships(database), direct_id(ALICE, BOB)
    members = {user: Member(Role.MEMBER, 1) for user in (ALICE, BOB)}
    await memberships.add(Conversation(identifier, ConversationKind.DIRECT, "", 0, 1, members))
    await memberships.change(ALICE, identifier, hidden=list(range(2, MOST_HIDDEN + 2)))
    assert not await memberships.hide(ALICE, identifier, 5000, 1)
    assert await memberships.hide(ALICE, identifier, 5000, MOST_HIDDEN)
    personal = await memberships.personal(ALICE, [identifier])
    assert personal[identifier].hidden == (MOST_HIDDEN, MOST_HIDDEN + 1, 5000)
