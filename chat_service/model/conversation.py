"""A conversation as it is kept beside its log: kind, title, members and how far each has got."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from chat_service.model.entry import (
    ConversationUpdated,
    Entry,
    MembershipChanged,
    MembershipKind,
    Message,
    Role,
)
from chat_service.model.ids import direct_id


class ConversationKind(IntEnum):
    """1-1 or group; numbers as in the contract."""

    DIRECT = 1
    GROUP = 2


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far a member has got. `read_number` is the message number at `read_seq`."""

    delivered_seq: int = 0
    read_seq: int = 0
    read_number: int = 0

    def raised(self, other: Watermark) -> Watermark:
        """The higher of both, field by field; never goes backwards."""
        return Watermark(
            max(self.delivered_seq, other.delivered_seq, other.read_seq),
            max(self.read_seq, other.read_seq),
            max(self.read_number, other.read_number),
        )


@dataclass(frozen=True, slots=True)
class Member:
    """A user's part in a conversation; `joined_seq` is the first entry the member may see."""

    role: Role
    joined_seq: int
    watermark: Watermark = field(default_factory=Watermark)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the log amounts to, true for all entries up to `applied_seq` that concern it."""

    conversation_id: str
    kind: ConversationKind
    title: str
    create_ms: int
    applied_seq: int
    members: Mapping[str, Member]

    def sees(self, user_id: str, seq: int) -> bool:
        """Whether `user_id` may see the entry `seq`."""
        member = self.members.get(user_id)
        return member is not None and seq >= member.joined_seq


def changed(conversation: Conversation | None, entry: Entry) -> Conversation | None:
    """What a conversation is after `entry`; applying one again changes nothing."""
    if isinstance(entry.change, Message) or (conversation and entry.seq <= conversation.applied_seq):
        return conversation
    if isinstance(entry.change, MembershipChanged) and entry.change.kind is MembershipKind.CREATED:
        return _created(entry, entry.change)
    if conversation is None:
        return None
    if isinstance(entry.change, ConversationUpdated):
        return replace(conversation, title=entry.change.title, applied_seq=entry.seq)
    return conversation


def _created(entry: Entry, change: MembershipChanged) -> Conversation:
    users = [user for user, _ in change.members]
    direct = len(users) == 2 and direct_id(*users) == entry.conversation_id
    return Conversation(
        conversation_id=entry.conversation_id,
        kind=ConversationKind.DIRECT if direct else ConversationKind.GROUP,
        title="",
        create_ms=entry.time_ms,
        applied_seq=entry.seq,
        members={user: Member(role, entry.seq) for user, role in change.members},
    )
