"""The events that chat queues: entries for users who are not in the foreground, and what users have read."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class ContentKind(StrEnum):
    """The kinds of content, as far as a notification tells them apart."""

    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    FILE = "file"
    LOCATION = "location"
    CONTACT = "contact"
    OPAQUE = "opaque"


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message. `text` is a text, a caption, the name of a location or of a contact; empty if there is none.

    `mentions` are the mentioned users, `reply_to_seq` the message that it replies to, 0 if none.
    """

    kind: ContentKind
    text: str = field(default="", repr=False)
    mentions: frozenset[str] = frozenset()
    reply_to_seq: int = 0


@dataclass(frozen=True, slots=True)
class NewReaction:
    """A reaction that was set on a message."""

    target_seq: int
    emoji: str


@dataclass(frozen=True, slots=True)
class AddedToGroup:
    """Users who were added to a group, also by its creation."""

    user_ids: frozenset[str]


Change = NewMessage | NewReaction | AddedToGroup


@dataclass(frozen=True, slots=True)
class NotifyingEntry:
    """An entry of a log that may notify. `source` is the entry as it was queued, serialized."""

    seq: int
    author_id: str
    change: Change
    source: bytes = field(default=b"", repr=False)

    @property
    def target_seq(self) -> int:
        """The message on whose author the notification depends; 0 if there is none."""
        match self.change:
            case NewMessage(reply_to_seq=seq) | NewReaction(target_seq=seq):
                return seq
            case _:
                return 0


@dataclass(frozen=True, slots=True)
class QueuedEntries:
    """Entries of a conversation, in ascending order of seq, for users; entries that notify nobody are left out.

    `deleted_seqs` are the messages that they delete for all members.
    """

    conversation_id: str
    entries: tuple[NotifyingEntry, ...]
    user_ids: tuple[str, ...]
    queued_ms: int
    deleted_seqs: tuple[int, ...] = ()

    def only(self, entry: NotifyingEntry, user_id: str) -> QueuedEntries:
        """Return the event with one entry, for one user."""
        return QueuedEntries(self.conversation_id, (entry,), (user_id,), self.queued_ms)


@dataclass(frozen=True, slots=True)
class QueuedRead:
    """A user has read a conversation up to `read_seq`."""

    user_id: str
    conversation_id: str
    read_seq: int
    queued_ms: int


PushEvent = QueuedEntries | QueuedRead


@dataclass(frozen=True, slots=True)
class PushJob:
    """A push to one device that is sent again: the event for that user alone, and the attempts so far."""

    event: PushEvent
    user_id: str
    device_id: str
    attempts: int
    first_attempt_ms: int
