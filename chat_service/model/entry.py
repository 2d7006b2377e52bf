"""An entry of a log, and what it can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from chat_service.model.ids import fingerprint
from chat_service.model.retention import Retention


class Role(IntEnum):
    """What a member may do; numbers as in the contract."""

    MEMBER = 1
    ADMIN = 2


class MembershipKind(IntEnum):
    """What happened to members; numbers as in the contract."""

    CREATED = 1
    ADDED = 2
    REMOVED = 3
    LEFT = 4
    ROLE_CHANGED = 5


@dataclass(frozen=True, slots=True)
class Reaction:
    """What somebody reacted with, and the seq of the entry that said so."""

    emoji: str
    seq: int


@dataclass(frozen=True, slots=True)
class Message:
    """Somebody said something: `content` is a serialised parley.chat.v1.Content, passed through untouched.

    It stands in its log in its present state: empty once deleted or no longer kept, with the seqs of its last edit and
    its deletion (0: none) and the reactions it has, by user.
    """

    content: bytes
    edit_seq: int = 0
    delete_seq: int = 0
    reactions: Mapping[str, Reaction] | None = None

    def fingerprint(self) -> bytes:
        """16 bytes that differ when the content differs."""
        return fingerprint(self.content)


@dataclass(frozen=True, slots=True)
class MessageEdited:
    """The message `target_seq` says something else; `content` is empty once a later edit or a deletion replaced it."""

    target_seq: int
    content: bytes

    def fingerprint(self) -> bytes:
        """16 bytes that differ when target or content differ."""
        return fingerprint(b"edit %d " % self.target_seq + self.content)


@dataclass(frozen=True, slots=True)
class MessageDeleted:
    """The message `target_seq` is taken away from all."""

    target_seq: int

    def fingerprint(self) -> bytes:
        """16 bytes that differ when the target differs."""
        return fingerprint(b"delete %d" % self.target_seq)


@dataclass(frozen=True, slots=True)
class ReactionChanged:
    """The actor's reaction to the message `target_seq` is `emoji` now; empty: none."""

    target_seq: int
    emoji: str

    def fingerprint(self) -> bytes:
        """16 bytes that differ when target or emoji differ."""
        return fingerprint(f"react {self.target_seq} {self.emoji}".encode())


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """Members came, left or changed their role; `members` are (user, role afterwards).

    When the last admin leaves, `members` also names the one who is admin instead.
    """

    kind: MembershipKind
    members: tuple[tuple[str, Role], ...]

    def fingerprint(self) -> bytes:
        """16 bytes that differ when kind or members differ."""
        return fingerprint(f"{self.kind:d} {sorted(self.members)}".encode())


@dataclass(frozen=True, slots=True)
class ConversationUpdated:
    """What is now true of a conversation; None: unchanged."""

    title: str | None = None
    picture_media_id: str | None = None
    admins_only_send: bool | None = None
    retention: Retention | None = None

    def fingerprint(self) -> bytes:
        """16 bytes that differ when anything differs."""
        said = (self.title, self.picture_media_id, self.admins_only_send, self.retention)
        return fingerprint(repr(said).encode())


MessageMutation = MessageEdited | MessageDeleted | ReactionChanged
"""What changes an earlier message."""
Change = Message | MessageMutation | MembershipChanged | ConversationUpdated


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody wants to have appended; it has no place in the log yet.

    `request_id` is the 16 bytes of the `client_message_id` or of the `request_id` of a call; `traceparent` is the
    W3C trace context of what caused it, empty if there is none. `not_asked` are those of users to be added who were
    members when the others were asked for their consent.
    """

    conversation_id: str
    actor_id: str
    request_id: bytes
    change: Change
    made_ms: int
    traceparent: str = ""
    consent_exempt: frozenset[str] = frozenset()

    @property
    def key(self) -> bytes:
        """What is appended once: the actor's 16 bytes and the request's."""
        return bytes.fromhex(self.actor_id) + self.request_id


@dataclass(frozen=True, slots=True)
class Entry:
    """One durable change of a conversation, at its place. Times in milliseconds since 1970."""

    conversation_id: str
    seq: int
    message_number: int
    time_ms: int
    actor_id: str
    request_id: bytes
    change: Change
    fingerprint: bytes

    @property
    def key(self) -> bytes:
        """What is appended once: the actor's 16 bytes and the request's."""
        return bytes.fromhex(self.actor_id) + self.request_id


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log ends: seq, number of messages and time of its newest entry."""

    seq: int
    message_number: int
    time_ms: int


EMPTY_LOG_HEAD: Final = Head(0, 0, 0)


@dataclass(frozen=True, slots=True)
class EntryHeader:
    """An entry without what it says: its place, who wrote it, and whether it is a message."""

    head: Head
    actor_id: str
    message: bool


# No log gets here.
LAST_SEQ: Final = 2**63 - 1
