"""What the owner needs of the world: stores, an index of changes, a ring, and a way to members."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chat_service.model.conversation import Conversation, Watermark
from chat_service.model.entry import Entry, EntryHeader
from chat_service.model.rules import TargetMessage
from servicekit.ring import Ring, RingMember


@dataclass(frozen=True, slots=True)
class Conflict:
    """`entries[at]` was refused, its seq or key is taken. What is before it is durable, what follows is not written."""

    index: int


class Log(Protocol):
    """The logs of all conversations. Every method raises StoreUnavailable."""

    async def append_batch(self, entries: Sequence[Entry]) -> Conflict | None:
        """Append in order; None when all are durable. An entry that is there already counts as appended.

        After StoreUnavailable the outcome is unknown: append the same again.
        """

    async def read_tail(self, conversation_id: str, length: int) -> Sequence[EntryHeader]:
        """The last entries of the log, as a majority knows it, oldest first; at most `length`."""

    async def count_messages(self, conversation_id: str, seq: int) -> int:
        """How many messages there are up to `seq`."""

    async def state_changes_after(self, conversation_id: str, after_seq: int) -> Sequence[Entry]:
        """The entries after `after_seq` that change messages or the conversation, in order."""

    async def load_targets(self, conversation_id: str, seqs: Collection[int]) -> Mapping[int, TargetMessage]:
        """Those of `seqs` that are messages, in the log's own present state."""

    async def apply_mutations(self, entries: Sequence[Entry]) -> None:
        """Let the messages that edits, deletions and reactions concern show them; again changes nothing."""

    async def find_by_keys(self, conversation_id: str, keys: Collection[bytes]) -> Sequence[Entry]:
        """The entries that have one of these keys."""


class Conversations(Protocol):
    """What is kept of conversations beside their logs. Every method raises StoreUnavailable."""

    async def load(self, conversation_id: str) -> Conversation | None:
        """The conversation, or None if none was stored."""

    async def is_blocked(self, conversation: Conversation) -> bool:
        """Whether one member of a 1-1 conversation has blocked the other."""

    async def save(self, conversation: Conversation) -> None:
        """Keep it, unless what is kept is true for a later seq; and let its members find it."""

    async def raise_applied_seq(self, conversation_id: str, seq: int) -> None:
        """All entries up to `seq` are applied, and those since what is kept changed nothing of it."""

    async def raise_watermarks(self, watermarks: Mapping[str, Mapping[str, Watermark]]) -> None:
        """Raise the watermarks of members, by conversation and user; lower ones change nothing."""

    async def raise_device_marks(self, marks: Mapping[str, Mapping[str, int]], due_ms: int) -> None:
        """What devices have, by conversation and device; what may go thereby is looked for at `due_ms`."""


class Index(Protocol):
    """The change index."""

    async def touch(self, touches: Mapping[str, Collection[str]]) -> None:
        """Note for each conversation that it changed for these users; never fails.

        Returns when it is written, or when the generation has moved on instead.
        """


class Publisher(Protocol):
    """The way to members' devices; never waits."""

    def publish(self, users: Collection[str], entries: Sequence[Entry], traceparent: str) -> None:
        """Bring entries of one conversation to the devices of `users`."""

    def publish_typing(self, users: Collection[str], conversation_id: str, user_id: str, typing: bool) -> None:
        """Tell the devices of `users` that somebody types, or stopped."""

    def publish_watermarks(
        self, users: Collection[str], conversation_id: str, watermarks: Mapping[str, Watermark]
    ) -> None:
        """Bring watermarks of members to the devices of `users`."""


class RingView(Protocol):
    """The ring as this server sees it now."""

    @property
    def ring(self) -> Ring:
        """The ring in force."""

    @property
    def me(self) -> RingMember:
        """This server."""
