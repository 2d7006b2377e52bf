"""The stores that retention reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chat_service.model.conversation import Conversation
from chat_service.model.retention import Retention


@dataclass(frozen=True, slots=True)
class DueConversation:
    """A conversation to sweep, and its due time in milliseconds since 1970; None if it has no due time."""

    conversation_id: str
    due_ms: int | None


@dataclass(frozen=True, slots=True)
class ClaimedConversation:
    """A conversation as stored when this server claimed it for a sweep.

    No other server can claim it before `until_ms`, in milliseconds since 1970. The content of all entries up to
    `removed_seq` is removed.
    """

    conversation: Conversation
    until_ms: int
    removed_seq: int


@dataclass(frozen=True, slots=True)
class EntryPosition:
    """The seq of an entry, the number of messages up to it, and its time in milliseconds since 1970."""

    seq: int
    message_number: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class PictureChange:
    """The seq of an entry that set or removed the picture of a group; `referenced` while it refers to the file."""

    seq: int
    referenced: bool


@dataclass(frozen=True, slots=True)
class RemovedStubs:
    """The number of stubs that were removed, and the time of the lowest that is left; None if none is left.

    A stub is an entry whose content is removed.
    """

    removed: int
    next_ms: int | None


class RetentionStore(Protocol):
    """Logs, conversations and device marks, as retention needs them. Every method raises StoreUnavailable."""

    async def list_due(
        self, now_ms: int, default: Retention, owns: Callable[[str], bool], limit: int
    ) -> Sequence[DueConversation]:
        """Return at most `limit` due conversations among those for which `owns` returns True.

        A conversation is due at its due time, or at once if that time was computed under another default.
        """

    async def claim(self, due: DueConversation, until_ms: int) -> ClaimedConversation | None:
        """Claim a conversation for a sweep until `until_ms`.

        Return None if the due time has changed since it was listed, for example because another server claimed it.
        """

    async def release(self, claimed: ClaimedConversation, due_ms: int | None, default: Retention | None) -> None:
        """Set the next due time (None: never) and the default under which it was computed (None: none applies).

        Changes nothing if the due time has changed since the claim.
        """

    async def list_positions(self, conversation_id: str, first: int, limit: int) -> Sequence[EntryPosition]:
        """Return the positions of at most `limit` entries from seq `first` on, in order."""

    async def first_unapplied_seq(self, conversation_id: str, applied_seq: int) -> int | None:
        """Return the first seq after `applied_seq` of an entry whose effect may be in the log only; None if none."""

    async def raise_first_seq(self, conversation_id: str, last: EntryPosition, *, expired: bool) -> None:
        """Mark the content up to `last` as due for removal, and if `expired` as past its age; idempotent."""

    async def remove_content(self, conversation_id: str, first: int, last: int) -> None:
        """Remove the content of the entries from `first` to `last`, and of later edits of them; idempotent."""

    async def remove_stubs(self, conversation_id: str, below_seq: int, before_ms: int, limit: int) -> RemovedStubs:
        """Remove at most `limit` stubs with seqs less than `below_seq` and times up to `before_ms`, lowest first.

        The highest entry of a log is never removed.
        """

    async def list_picture_changes(self, conversation_id: str, last: int) -> Sequence[PictureChange]:
        """Return the changes of the picture up to seq `last`, in order."""

    async def release_pictures(self, conversation_id: str, seqs: Collection[int]) -> None:
        """Remove the references of these entries to their files; idempotent."""

    async def load_device_marks(self, conversation_id: str) -> Mapping[str, int]:
        """Return the delivered seqs of devices; devices that never acknowledged a delivery are absent."""

    async def remove_device_marks(self, conversation_id: str, devices: Collection[str]) -> None:
        """Remove the delivered seqs of these devices."""


class SignedInDevices(Protocol):
    """The devices of users. Every method raises StoreUnavailable."""

    async def load_signed_in(self, user_ids: Collection[str]) -> Mapping[str, Mapping[str, int]]:
        """Return the sign-in times of signed-in devices, in milliseconds since 1970, by user and device."""
