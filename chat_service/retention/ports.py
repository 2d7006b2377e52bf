"""What retention needs of the stores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chat_service.model.conversation import Conversation
from chat_service.model.retention import Retention


@dataclass(frozen=True, slots=True)
class DueConversation:
    """A conversation to look at, and the time that was set for it, in milliseconds since 1970; None: none was."""

    conversation_id: str
    due_ms: int | None


@dataclass(frozen=True, slots=True)
class ClaimedConversation:
    """A conversation as it was when a look at it began; nobody else looks until `until_ms`.

    All content up to `gone_seq` is removed.
    """

    conversation: Conversation
    until_ms: int
    removed_seq: int


@dataclass(frozen=True, slots=True)
class EntryPosition:
    """Where an entry stands, how many messages there are up to it, and its time in milliseconds since 1970."""

    seq: int
    message_number: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class RemovedStubs:
    """How many entries without content were removed, and the time of the next that can be; None: there is none."""

    removed: int
    next_ms: int | None


class RetentionStore(Protocol):
    """Logs and conversations, as far as retention concerns them. Every method raises StoreUnavailable."""

    async def list_due(
        self, now_ms: int, default: Retention, owns: Callable[[str], bool], limit: int
    ) -> Sequence[DueConversation]:
        """At most `limit` of my conversations whose time has come, or was set under another default."""

    async def claim(self, due: DueConversation, until_ms: int) -> ClaimedConversation | None:
        """Begin a look; None when something has changed the time since, for example another server."""

    async def release(self, held: ClaimedConversation, due_ms: int | None, default: Retention | None) -> None:
        """End a look: when to look again (None: not), and the default it depends on. What came between wins."""

    async def list_positions(self, conversation_id: str, first: int, limit: int) -> Sequence[EntryPosition]:
        """The entries from seq `first` on, at most `limit`."""

    async def first_unapplied_seq(self, conversation_id: str, applied_seq: int) -> int | None:
        """The first entry after `applied_seq` whose doing may be nowhere but in the log."""

    async def raise_first_seq(self, conversation_id: str, last: EntryPosition) -> None:
        """From now on nothing up to `last` is kept; again changes nothing."""

    async def remove_content(self, conversation_id: str, first: int, last: int) -> None:
        """Remove what the entries from `first` to `last` say, and what edits say about them; again changes nothing."""

    async def remove_stubs(self, conversation_id: str, below_seq: int, before_ms: int, limit: int) -> RemovedStubs:
        """Remove at most `limit` of the lowest entries of before a time, and never the highest."""

    async def load_device_marks(self, conversation_id: str) -> Mapping[str, int]:
        """How far each device has got, by device; one that never said anything is missing."""

    async def remove_device_marks(self, conversation_id: str, devices: Collection[str]) -> None:
        """Forget how far devices have got."""


class SignedInDevices(Protocol):
    """The devices of users. Every method raises StoreUnavailable."""

    async def load_signed_in(self, user_ids: Collection[str]) -> Mapping[str, Mapping[str, int]]:
        """Since when which devices are signed in, in milliseconds since 1970, by user and device."""
