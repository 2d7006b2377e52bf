"""Access to media: a user may see a file while a message or picture that the user may see refers to it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Final, Protocol

from chat_service.history.message_search import SearchScope
from chat_service.history.visibility import VisibilityResolver, VisibleConversation
from chat_service.model.conversation import Interval
from chat_service.model.entry import LAST_SEQ
from chat_service.model.stores import MembershipStore
from servicekit.errors import StoreUnavailable

# Conversations of one query of the media index.
CONVERSATIONS_PAGE: Final = 500
# Conversations that are resolved at once: nearly always the first one of them shows the file.
RESOLVED_BATCH: Final = 10
CHECK_TIMEOUT_S: Final = 10.0


class MediaReferences(Protocol):
    """The references of messages, groups and accounts to media. Every method raises StoreUnavailable."""

    async def is_profile_picture(self, media_id: str) -> bool:
        """Return True if the file is the profile picture of an account that is not being deleted."""

    async def filter_conversations(self, media_id: str, conversation_ids: Collection[str]) -> set[str]:
        """Return the conversations in which a message, the picture or an earlier picture refers to the file."""

    async def is_in_scopes(self, media_id: str, scopes: Sequence[SearchScope]) -> bool:
        """Return True if a message in one of the scopes refers to the file in its present state."""

    async def filter_referenced(self, media_ids: Collection[str]) -> set[str]:
        """Return the files that a message, a group or an account refers to."""


class MediaAccess:
    """Decides which user may see which file. Every method raises StoreUnavailable."""

    def __init__(
        self, references: MediaReferences, memberships: MembershipStore, visibility: VisibilityResolver
    ) -> None:
        self._references = references
        self._memberships = memberships
        self._visibility = visibility

    async def is_allowed(self, user_id: str, media_id: str) -> bool:
        """Return True if something that the user may see refers to the file.

        Every user may see every profile. In conversations the check begins with those of the user, so its cost does not
        grow with the number of references to the file.
        """
        if await self._references.is_profile_picture(media_id):
            return True
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                return await self._is_shown_in_conversations(user_id, media_id)
        except TimeoutError:
            raise StoreUnavailable("the check of access to media took too long") from None

    async def filter_referenced(self, media_ids: Sequence[str]) -> list[str]:
        """Return the files to which anything refers, in the order of `media_ids`."""
        referenced = await self._references.filter_referenced(media_ids)
        return [each for each in media_ids if each in referenced]

    async def _is_shown_in_conversations(self, user_id: str, media_id: str) -> bool:
        after = ""
        while ids := await self._memberships.list_conversations(user_id, after, CONVERSATIONS_PAGE):
            referring = sorted(await self._references.filter_conversations(media_id, ids))
            for start in range(0, len(referring), RESOLVED_BATCH):
                if await self._is_shown_in(user_id, media_id, referring[start : start + RESOLVED_BATCH]):
                    return True
            after = ids[-1]
        return False

    async def _is_shown_in(self, user_id: str, media_id: str, conversation_ids: Sequence[str]) -> bool:
        resolved = await self._visibility.resolve_many(user_id, conversation_ids)
        visible = [each for each in resolved.values() if isinstance(each, VisibleConversation)]
        if any(each.conversation.picture_media_id == media_id for each in visible):
            return True
        if not await self._references.is_in_scopes(media_id, [_scope(each) for each in visible]):
            return False
        # The message may have been appended after the user had left.
        if await self._visibility.membership_changed(visible):
            return await self._is_shown_in(user_id, media_id, conversation_ids)
        return True


def _scope(visible: VisibleConversation) -> SearchScope:
    """Return the messages of a conversation that the user may see and that retention has not removed."""
    kept = visible.intersect(Interval(visible.conversation.first_seq, LAST_SEQ))
    return SearchScope(visible.conversation.conversation_id, tuple(kept), visible.settings.hidden)
