"""The stores that the domain reads and writes; `chat_service.storage` implements them. Each raises StoreUnavailable."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chat_service.model.authorization import TargetMessage
from chat_service.model.conversation import Conversation, Interval, PersonalSettings, Watermark
from chat_service.model.cursor import Cursor, IndexReading
from chat_service.model.entry import LAST_SEQ, Entry, EntryHeader, Head


@dataclass(frozen=True, slots=True)
class LogPage:
    """A range of a log, and whether it reaches the head or the end of the requested range."""

    entries: Sequence[Entry]
    reaches_head: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """`entries[index]` was refused because its seq or key exists; earlier ones are durable, later ones not written."""

    index: int


class ConversationLog(Protocol):
    """The logs of all conversations."""

    async def append_batch(self, entries: Sequence[Entry]) -> Conflict | None:
        """Append in order and return None once all are durable; an identical entry that exists counts as appended.

        After StoreUnavailable the outcome is unknown; append the same entries again to learn it.
        """

    async def read_head(self, conversation_id: str) -> Head:
        """Return the head of the log as a majority knows it."""

    async def read_heads(self, conversation_ids: Collection[str]) -> Mapping[str, EntryHeader]:
        """Return the headers of the last entries of several logs by conversation; empty logs are absent."""

    async def read_tail(self, conversation_id: str, length: int) -> Sequence[EntryHeader]:
        """Return the headers of the last `length` entries as a majority knows them, oldest first."""

    async def read_page(self, conversation_id: str, first: int, limit: int, last: int = LAST_SEQ) -> LogPage:
        """Return the entries from seq `first` to `last` in order, at most `limit` and about 1 MiB of content."""

    async def read_messages(
        self, conversation_id: str, within: Interval, limit: int, *, newest_first: bool, without: Collection[int] = ()
    ) -> Sequence[Entry]:
        """Return at most `limit` messages of an interval, except those with the seqs `without`."""

    async def read_mutations(
        self, conversation_id: str, within: Interval, targets: Sequence[Interval], limit: int
    ) -> LogPage:
        """Return at most `limit` edits, deletions and reactions of an interval, in order, of messages in `targets`.

        The edits have no content.
        """

    async def count_messages(self, conversation_id: str, seq: int) -> int:
        """Return the number of messages up to and including `seq`."""

    async def state_changes_after(self, conversation_id: str, after_seq: int) -> Sequence[Entry]:
        """Return the entries after `after_seq` that change earlier messages or the conversation, in order."""

    async def conversation_events(self, conversation_id: str, last: int = LAST_SEQ) -> Sequence[Entry]:
        """Return the entries up to seq `last` that change members, title or settings, in order."""

    async def conversation_events_after(self, seqs: Mapping[str, int]) -> Mapping[str, Sequence[Entry]]:
        """Return the same for several conversations, after a seq of each; conversations without any are absent."""

    async def load_targets(
        self, conversation_id: str, seqs: Collection[int], *, contents: bool = False
    ) -> Mapping[int, TargetMessage]:
        """Return those of `seqs` that are messages, in their present state; with their contents if `contents`."""

    async def apply_mutations(self, entries: Sequence[Entry]) -> None:
        """Rewrite the messages that edits, deletions and reactions target; idempotent."""

    async def find_by_keys(self, conversation_id: str, keys: Collection[bytes]) -> Sequence[Entry]:
        """Return the entries that have one of these idempotency keys."""


class ConversationStore(Protocol):
    """The state of conversations that is derived from their logs, and the watermarks."""

    async def load(self, conversation_id: str) -> Conversation | None:
        """Return the conversation, or None if none is stored."""

    async def load_many(self, conversation_ids: Collection[str]) -> Mapping[str, Conversation]:
        """Return the stored conversations by id; unknown ids are absent."""

    async def is_blocked(self, conversation: Conversation) -> bool:
        """Return True if one member of a 1-1 conversation has blocked the other."""

    async def save(self, conversation: Conversation) -> None:
        """Store the conversation unless a later seq is stored, and make it findable for its members."""

    async def raise_applied_seq(self, conversation_id: str, seq: int) -> None:
        """Record that all entries up to `seq` are applied and changed nothing else that is stored."""

    async def raise_watermarks(
        self, watermarks: Mapping[str, Mapping[str, Watermark]], hidden: Collection[str] = ()
    ) -> None:
        """Raise the watermarks of members, by conversation and user; lower ones change nothing.

        Those of the conversations `hidden` are shown to their own users only.
        """

    async def raise_device_marks(self, marks: Mapping[str, Mapping[str, int]], due_ms: int) -> None:
        """Raise the delivered seqs of devices, by conversation and device, and schedule a sweep at `due_ms`."""


class MembershipStore(Protocol):
    """The conversations of each user, left ones included, and the user's own settings for each."""

    async def list_conversations(self, user_id: str, after: str = "", limit: int = 0) -> Sequence[str]:
        """Return the ids of a user's conversations above `after`, in order, at most `limit` (0: all)."""

    async def load_settings(self, user_id: str, conversation_ids: Collection[str]) -> Mapping[str, PersonalSettings]:
        """Return the user's settings by conversation; conversations without a membership are absent."""

    async def update_settings(self, user_id: str, conversation_id: str, **settings: Any) -> None:
        """Set `mute_until_ms`, `pinned` or `archived`, as in PersonalSettings."""

    async def hide_message(self, user_id: str, conversation_id: str, seq: int, first_seq: int) -> bool:
        """Hide a message from the user's view; return False if MAX_HIDDEN are hidden at or above `first_seq`."""


class ChangeIndex(Protocol):
    """The index of changed conversations per user. It never raises: an outage is recorded and repaired by itself."""

    async def touch(self, touches: Mapping[str, Collection[str]]) -> None:
        """Record for each conversation that it changed for these users.

        Returns once the touches are written, or once the generation has moved on instead.
        """

    async def read_changes(self, user_id: str, cursor: Cursor | None) -> IndexReading:
        """Return the conversations that changed for the user since `cursor`, and the next cursor."""
