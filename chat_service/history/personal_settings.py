"""The settings of one user for a conversation, stored and then announced to the user's other devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chat_service.errors import TooManyHidden
from chat_service.history.history import History
from chat_service.model.conversation import MAX_HIDDEN
from chat_service.model.stores import ChangeIndex, MembershipStore


class PersonalSettingsService:
    """Mutes, pins and archives conversations and hides messages; every method is idempotent.

    `recheck_user` makes the user's sessions read the change index again. Every method raises ConversationNotFound and
    StoreUnavailable.
    """

    def __init__(
        self,
        memberships: MembershipStore,
        history: History,
        index: ChangeIndex,
        recheck_user: Callable[[str], None],
    ) -> None:
        self._memberships = memberships
        self._history = history
        self._index = index
        self._recheck_user = recheck_user

    async def mute(self, user_id: str, conversation_id: str, until_ms: int) -> None:
        """Mute pushes until `until_ms`, in milliseconds since 1970; 0 unmutes."""
        await self._update(user_id, conversation_id, mute_until_ms=until_ms)

    async def pin(self, user_id: str, conversation_id: str, pinned: bool) -> None:
        """Pin the conversation to the top of the list, or unpin it."""
        await self._update(user_id, conversation_id, pinned=pinned)

    async def archive(self, user_id: str, conversation_id: str, archived: bool) -> None:
        """Archive the conversation, or move it back to the main list."""
        await self._update(user_id, conversation_id, archived=archived)

    async def hide_message(self, user_id: str, conversation_id: str, seq: int) -> None:
        """Delete a message from the user's own view. Also raises MessageNotFound and TooManyHidden."""
        await self._history.get_message(user_id, conversation_id, seq)
        first_seq = (await self._history.load_visible(user_id, conversation_id)).conversation.first_seq
        if not await self._memberships.hide_message(user_id, conversation_id, seq, first_seq):
            raise TooManyHidden(f"at most {MAX_HIDDEN} messages of a conversation can be hidden")
        await self._announce(user_id, conversation_id)

    async def _update(self, user_id: str, conversation_id: str, **settings: Any) -> None:
        await self._history.load_visible(user_id, conversation_id)
        await self._memberships.update_settings(user_id, conversation_id, **settings)
        await self._announce(user_id, conversation_id)

    async def _announce(self, user_id: str, conversation_id: str) -> None:
        await self._index.touch({conversation_id: [user_id]})
        self._recheck_user(user_id)
