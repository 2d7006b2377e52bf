"""What personal views need of the world."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from chat_service.model.conversation import Conversation
from chat_service.model.entry import Entry


class Memberships(Protocol):
    """Where they are kept. Every method raises StoreUnavailable."""

    async def update_settings(self, user_id: str, conversation_id: str, **settings: Any) -> None:
        """Set `mute_until_ms`, `pinned` or `archived`, as in Personal."""

    async def hide_message(self, user_id: str, conversation_id: str, seq: int, first_seq: int) -> bool:
        """Take a message out of the user's view; False when there is no room for more.

        What is below `first_seq` is kept no more and needs no hiding.
        """


class Seen(Protocol):
    """What a user may see."""

    @property
    def conversation(self) -> Conversation:
        """The conversation."""


class History(Protocol):
    """What a user may read."""

    async def load_visible(self, user_id: str, conversation_id: str) -> Seen:
        """A conversation. Raises ConversationNotFound."""

    async def get_message(self, user_id: str, conversation_id: str, seq: int) -> Entry:
        """A message. Raises ConversationNotFound, MessageNotFound."""


class Index(Protocol):
    """The change index."""

    async def touch(self, touches: Mapping[str, Collection[str]]) -> None:
        """Note for each conversation that it changed for these users; never fails."""


class Homes(Protocol):
    """The way to the user's other devices."""

    def recheck_user(self, user_id: str) -> None:
        """Have the user's sessions look again."""
