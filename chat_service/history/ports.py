"""What reading needs of the stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chat_service.model.conversation import Conversation
from chat_service.model.cursor import Cursor, Reading
from chat_service.model.entry import Entry, Head


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a log; whether it reaches the head."""

    entries: Sequence[Entry]
    ended: bool


class Log(Protocol):
    """The logs of all conversations. Every method raises StoreUnavailable."""

    async def head(self, conversation_id: str) -> Head:
        """Where the log ends, as a majority knows it."""

    async def read(self, conversation_id: str, first: int, limit: int) -> Page:
        """The entries from seq `first`, in order, at most `limit` and about 1 MiB of content."""

    async def changes(self, conversation_id: str, after_seq: int) -> Sequence[Entry]:
        """The entries after `after_seq` that change the conversation itself, in order."""

    async def messages(
        self, conversation_id: str, first: int, last: int, limit: int, newest_first: bool
    ) -> Sequence[Entry]:
        """The messages from seq `first` to `last`, at most `limit`."""


class Conversations(Protocol):
    """What is kept of conversations beside their logs. Every method raises StoreUnavailable."""

    async def load_many(self, conversation_ids: Collection[str]) -> Mapping[str, Conversation]:
        """The conversations that are stored, by id."""

    async def of_user(self, user_id: str, after: str = "", limit: int = 0) -> Sequence[str]:
        """The ids of a user's conversations above `after`, in order, at most `limit` (0: all)."""


class Index(Protocol):
    """The change index; never fails."""

    async def read(self, user_id: str, cursor: Cursor | None) -> Reading:
        """What changed for the user since `cursor`, and the cursor to go on from."""
