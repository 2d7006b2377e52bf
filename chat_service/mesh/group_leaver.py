"""How a user whose account ends leaves all groups: each by an entry of its log, as if asked for one by one."""

from __future__ import annotations

from typing import Final

import uuid_utils

from chat_service.errors import ConversationNotFound, NotAGroup
from chat_service.history.history import History
from chat_service.mesh.owner_router import OwnerRouter
from chat_service.model.conversation import ConversationKind
from chat_service.model.entry import Draft, MembershipChanged, MembershipKind, Role
from servicekit.failure import Failure

PAGE: Final = 50
ALREADY_LEFT: Final = frozenset({ConversationNotFound.default_reason, NotAGroup.default_reason})


class GroupLeaver:
    """Has users leave."""

    def __init__(self, history: History, owners: OwnerRouter) -> None:
        self._history = history
        self._owners = owners

    async def leave_groups(self, user_id: str) -> None:
        """Have a user leave all groups. Raises Failure when an owner or a store cannot be reached."""
        after, more = "", True
        while more:
            overviews, after = await self._history.list_summaries(user_id, after, PAGE)
            for overview in overviews:
                conversation = overview.visible.conversation
                if overview.visible.member and conversation.kind is ConversationKind.GROUP:
                    await self._leave(user_id, conversation.conversation_id)
            more = bool(after)

    async def _leave(self, user_id: str, conversation_id: str) -> None:
        change = MembershipChanged(MembershipKind.LEFT, ((user_id, Role.MEMBER),))
        # An id of its own each time: who was added again since must leave again.
        draft = Draft(conversation_id, user_id, uuid_utils.uuid7().bytes, change, made_ms=0)
        try:
            await self._owners.append_and_wait(draft)
        except Failure as failure:
            if failure.reason not in ALREADY_LEFT:
                raise
