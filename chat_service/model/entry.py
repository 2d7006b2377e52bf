"""The entries of a log, the changes that they record, and drafts of entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from chat_service.model.ids import fingerprint
from chat_service.model.retention import Retention
from servicekit.failure import Failure


class Role(IntEnum):
    """The role of a member; the values are those of the protos."""

    MEMBER = 1
    ADMIN = 2


class MembershipKind(IntEnum):
    """The kind of a membership change; the values are those of the protos."""

    CREATED = 1
    ADDED = 2
    REMOVED = 3
    LEFT = 4
    ROLE_CHANGED = 5


@dataclass(frozen=True, slots=True)
class Reaction:
    """The reaction of one user to a message, and the seq of the entry that set it."""

    emoji: str
    seq: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message; `content` is a serialized parley.chat.v1.Content, passed through unchanged.

    The log stores it in its present state: `content` is empty once it is deleted or expired, `edit_seq` and
    `delete_seq` are the entries of its last edit and its deletion (0: none), and `reactions` are by user.
    """

    content: bytes
    edit_seq: int = 0
    delete_seq: int = 0
    reactions: Mapping[str, Reaction] | None = None

    def fingerprint(self) -> bytes:
        """Return 16 bytes that differ if the content differs."""
        return fingerprint(self.content)


@dataclass(frozen=True, slots=True)
class MessageEdited:
    """New content of the message `target_seq`; empty once a later edit or a deletion has replaced it."""

    target_seq: int
    content: bytes

    def fingerprint(self) -> bytes:
        """Return 16 bytes that differ if the target or the content differs."""
        return fingerprint(b"edit %d " % self.target_seq + self.content)


@dataclass(frozen=True, slots=True)
class MessageDeleted:
    """The deletion of the message `target_seq` for all members."""

    target_seq: int

    def fingerprint(self) -> bytes:
        """Return 16 bytes that differ if the target differs."""
        return fingerprint(b"delete %d" % self.target_seq)


@dataclass(frozen=True, slots=True)
class ReactionChanged:
    """The actor's new reaction to the message `target_seq`; an empty `emoji` removes it."""

    target_seq: int
    emoji: str

    def fingerprint(self) -> bytes:
        """Return 16 bytes that differ if the target or the emoji differs."""
        return fingerprint(f"react {self.target_seq} {self.emoji}".encode())


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """A change of members or roles; `members` are pairs of a user and the role after the change.

    When the last admin leaves, `members` also has the member who becomes admin.
    """

    kind: MembershipKind
    members: tuple[tuple[str, Role], ...]

    def fingerprint(self) -> bytes:
        """Return 16 bytes that differ if the kind or the members differ."""
        return fingerprint(f"{self.kind:d} {sorted(self.members)}".encode())


@dataclass(frozen=True, slots=True)
class ConversationUpdated:
    """New values of a conversation's settings; None leaves a setting unchanged."""

    title: str | None = None
    picture_media_id: str | None = None
    admins_only_send: bool | None = None
    retention: Retention | None = None

    def fingerprint(self) -> bytes:
        """Return 16 bytes that differ if any field differs."""
        fields = (self.title, self.picture_media_id, self.admins_only_send, self.retention)
        return fingerprint(repr(fields).encode())


@dataclass(frozen=True, slots=True)
class References:
    """The message that a content replies to (0: none), the users that it mentions, and its file (empty: none)."""

    reply_to_seq: int
    mentioned_ids: frozenset[str]
    media_id: str = ""


NO_REFERENCES: Final = References(0, frozenset())

MessageMutation = MessageEdited | MessageDeleted | ReactionChanged
"""A change of an earlier message."""
Change = Message | MessageMutation | MembershipChanged | ConversationUpdated


@dataclass(frozen=True, slots=True)
class Draft:
    """A change that a user requests; it has no seq yet.

    `request_id` is the 16 bytes of the `client_message_id` or of the `request_id` of a call. `made_ms` is the time
    of the request id in milliseconds since 1970, 0 if unknown. `traceparent` is the W3C trace context of the request,
    empty if there is none. `consent_exempt` has the users to add who were members already when the consent of the
    others was checked. `references` are those of the content of the change.

    `fingerprint` are 16 bytes that differ if the content that the client sent differs; empty if the server has added
    nothing to it. `refusal` is the final refusal of the file that the content refers to: a retry of an appended send
    gets the result of that one all the same.
    """

    conversation_id: str
    actor_id: str
    request_id: bytes
    change: Change
    made_ms: int
    traceparent: str = ""
    consent_exempt: frozenset[str] = frozenset()
    references: References = NO_REFERENCES
    fingerprint: bytes = b""
    refusal: Failure | None = None

    @property
    def key(self) -> bytes:
        """Return the idempotency key: the 16 bytes of the actor's id and those of the request id."""
        return bytes.fromhex(self.actor_id) + self.request_id


@dataclass(frozen=True, slots=True)
class Entry:
    """A change at its seq in the log of a conversation; `time_ms` is in milliseconds since 1970."""

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
        """Return the idempotency key: the 16 bytes of the actor's id and those of the request id."""
        return bytes.fromhex(self.actor_id) + self.request_id


def redact_mutation(entry: Entry) -> Entry:
    """Return the entry of a mutation for a user who was not a member then: an edit or a reaction loses its content.

    On such an edit the user's device removes the content of the message; on such a reaction it removes the earlier
    reaction of the actor. A deletion stays as it is.
    """
    change = entry.change
    if isinstance(change, MessageEdited):
        return replace(entry, change=replace(change, content=b""))
    if isinstance(change, ReactionChanged):
        return replace(entry, change=replace(change, emoji=""))
    return entry


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a log: seq, message number and time (milliseconds since 1970) of its newest entry."""

    seq: int
    message_number: int
    time_ms: int


EMPTY_LOG_HEAD: Final = Head(0, 0, 0)


@dataclass(frozen=True, slots=True)
class EntryHeader:
    """An entry without its change: seq, message number, time, actor, and whether it is a message."""

    head: Head
    actor_id: str
    message: bool


# The upper bound of seqs; no log reaches it.
LAST_SEQ: Final = 2**63 - 1
