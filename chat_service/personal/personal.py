"""Muting, pinning, archiving, and deleting from the own view: kept first, then told to the user's devices."""

from __future__ import annotations

from typing import Any

from chat_service.errors import TooManyHidden
from chat_service.model.personal import MAX_HIDDEN
from chat_service.personal.ports import History, Homes, Index, Memberships


class PersonalSettingsService:
    """Every method raises ConversationNotFound and StoreUnavailable; doing something again changes nothing."""

    def __init__(self, memberships: Memberships, history: History, index: Index, homes: Homes) -> None:
        self._memberships = memberships
        self._history = history
        self._index = index
        self._homes = homes

    async def mute(self, user_id: str, conversation_id: str, until_ms: int) -> None:
        """Silence pushes until a time, in milliseconds since 1970; 0: not."""
        await self._set(user_id, conversation_id, mute_until_ms=until_ms)

    async def pin(self, user_id: str, conversation_id: str, pinned: bool) -> None:
        """Keep it at the top of the list, or not."""
        await self._set(user_id, conversation_id, pinned=pinned)

    async def archive(self, user_id: str, conversation_id: str, archived: bool) -> None:
        """Put it out of the main list, or back."""
        await self._set(user_id, conversation_id, archived=archived)

    async def hide_message(self, user_id: str, conversation_id: str, seq: int) -> None:
        """Delete a message from the user's own view. Raises MessageNotFound, TooManyHidden."""
        await self._history.get_message(user_id, conversation_id, seq)
        first_seq = (await self._history.load_visible(user_id, conversation_id)).conversation.first_seq
        if not await self._memberships.hide_message(user_id, conversation_id, seq, first_seq):
            raise TooManyHidden(f"at most {MAX_HIDDEN} messages of a conversation can be deleted from the own view")
        await self._notify_devices(user_id, conversation_id)

    async def _set(self, user_id: str, conversation_id: str, **settings: Any) -> None:
        await self._history.load_visible(user_id, conversation_id)
        await self._memberships.update_settings(user_id, conversation_id, **settings)
        await self._notify_devices(user_id, conversation_id)

    async def _notify_devices(self, user_id: str, conversation_id: str) -> None:
        await self._index.touch({conversation_id: [user_id]})
        self._homes.recheck_user(user_id)
