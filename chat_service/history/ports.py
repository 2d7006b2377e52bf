"""What reading needs of the stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chat_service.model.conversation import Conversation, Interval
from chat_service.model.cursor import Cursor, IndexReading
from chat_service.model.entry import LAST_SEQ, Entry, Head
from chat_service.model.personal import PersonalSettings


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of a log; whether it reaches the head."""

    entries: Sequence[Entry]
    reaches_head: bool


class Log(Protocol):
    """The logs of all conversations. Every method raises StoreUnavailable."""

    async def read_head(self, conversation_id: str) -> Head:
        """Where the log ends, as a majority knows it."""

    async def count_messages(self, conversation_id: str, seq: int) -> int:
        """How many messages there are up to `seq`."""

    async def read_page(self, conversation_id: str, first: int, limit: int, last: int = LAST_SEQ) -> LogPage:
        """The entries from seq `first` to `last`, in order, at most `limit` and about 1 MiB of content."""

    async def conversation_events(self, conversation_id: str, last: int = LAST_SEQ) -> Sequence[Entry]:
        """The entries up to seq `last` that change members, title or settings of the conversation, in order."""

    async def conversation_events_after(self, seqs: Mapping[str, int]) -> Mapping[str, Sequence[Entry]]:
        """The same of several conversations, after a seq of each; those without any are missing."""

    async def read_messages(
        self, conversation_id: str, within: Interval, limit: int, *, newest_first: bool, without: Collection[int] = ()
    ) -> Sequence[Entry]:
        """The messages of an interval, at most `limit`, those of the seqs `without` left out."""


class Conversations(Protocol):
    """What is kept of conversations beside their logs. Every method raises StoreUnavailable."""

    async def load_many(self, conversation_ids: Collection[str]) -> Mapping[str, Conversation]:
        """The conversations that are stored, by id."""


class Memberships(Protocol):
    """Which conversations a user has, or had. Every method raises StoreUnavailable."""

    async def list_conversations(self, user_id: str, after: str = "", limit: int = 0) -> Sequence[str]:
        """The ids of a user's conversations above `after`, in order, at most `limit` (0: all)."""

    async def load_settings(self, user_id: str, conversation_ids: Collection[str]) -> Mapping[str, PersonalSettings]:
        """What the user has set, by conversation; those without a membership are missing."""


class Index(Protocol):
    """The change index; never fails."""

    async def read_changes(self, user_id: str, cursor: Cursor | None) -> IndexReading:
        """What changed for the user since `cursor`, and the cursor to go on from."""
