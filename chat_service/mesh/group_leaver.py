"""The departure from all groups of a user whose account is deleted, with one log entry per group."""

from __future__ import annotations

from typing import Final

import uuid_utils

from chat_service.errors import ConversationNotFound, NotAGroup
from chat_service.history.history import History
from chat_service.mesh.owner_router import OwnerRouter
from chat_service.model.conversation import ConversationKind
from chat_service.model.entry import Draft, MembershipChanged, MembershipKind, Role
from servicekit.failure import Failure

PAGE_SIZE: Final = 50
ALREADY_LEFT: Final = frozenset({ConversationNotFound.default_reason, NotAGroup.default_reason})


class GroupLeaver:
    """Removes users from their groups."""

    def __init__(self, history: History, owners: OwnerRouter) -> None:
        self._history = history
        self._owners = owners

    async def leave_groups(self, user_id: str) -> None:
        """Append the user's departure to the log of each group. Raise Failure if an owner or a store is unavailable."""
        after_id, has_next = "", True
        while has_next:
            summaries, after_id = await self._history.list_summaries(user_id, after_id, PAGE_SIZE)
            for summary in summaries:
                conversation = summary.visible.conversation
                if summary.visible.member and conversation.kind is ConversationKind.GROUP:
                    await self._leave(user_id, conversation.conversation_id)
            has_next = bool(after_id)

    async def _leave(self, user_id: str, conversation_id: str) -> None:
        change = MembershipChanged(MembershipKind.LEFT, ((user_id, Role.MEMBER),))
        # A new request id on each run: a user who was added again after an earlier run must leave again.
        draft = Draft(conversation_id, user_id, uuid_utils.uuid7().bytes, change, made_ms=0)
        try:
            await self._owners.append_and_wait(draft)
        except Failure as failure:
            if failure.reason not in ALREADY_LEFT:
                raise
