"""A conversation as it is kept beside its log: kind, title, members and how far each has got."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from chat_service.model.entry import (
    LAST_SEQ,
    ConversationUpdated,
    Entry,
    MembershipChanged,
    MembershipKind,
    Message,
    Role,
)
from chat_service.model.ids import direct_id
from chat_service.model.retention import Retention

# Ended memberships of one user that are remembered; what was seen in older ones is not shown any more.
MAX_PAST_MEMBERSHIPS: Final = 20
# Users whose ended memberships are remembered: those that ended last.
MAX_PAST_MEMBERS: Final = 1000
DEFAULT_RETENTION: Final = Retention()


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

    def max_with(self, other: Watermark) -> Watermark:
        """The higher of both, field by field; never goes backwards."""
        return Watermark(
            max(self.delivered_seq, other.delivered_seq, other.read_seq),
            max(self.read_seq, other.read_seq),
            max(self.read_number, other.read_number),
        )


@dataclass(frozen=True, slots=True)
class ConversationMember:
    """A user's part in a conversation; `joined_seq` is the first entry the member may see."""

    role: Role
    joined_seq: int
    watermark: Watermark = field(default_factory=Watermark)


@dataclass(frozen=True, slots=True)
class Interval:
    """Entries that a user may see: from `first` to `last`."""

    first: int
    last: int

    def __contains__(self, seq: int) -> bool:
        return self.first <= seq <= self.last


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the log amounts to, true for all entries up to `applied_seq` that concern it.

    `past` has the ended memberships of users, in order, also of those who are members again; who left last stands last.
    """

    conversation_id: str
    kind: ConversationKind
    title: str
    create_ms: int
    applied_seq: int
    members: Mapping[str, ConversationMember]
    past_memberships: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)
    picture_media_id: str = ""
    admins_only_send: bool = False
    retention: Retention = DEFAULT_RETENTION
    # The lowest seq whose content is kept, and how many messages are below it.
    first_seq: int = 1
    first_number: int = 0

    def visible_intervals(self, user_id: str) -> tuple[Interval, ...]:
        """What `user_id` may see of the log, in order; empty for who never was a member."""
        past = self.past_memberships.get(user_id, ())
        member = self.members.get(user_id)
        return past if member is None else (*past, Interval(member.joined_seq, LAST_SEQ))

    def can_see(self, user_id: str, seq: int) -> bool:
        """Whether `user_id` may see the entry `seq`."""
        return any(seq in each for each in self.visible_intervals(user_id))

    def admins(self) -> Iterator[str]:
        """The members who are admins."""
        return (user for user, member in self.members.items() if member.role is Role.ADMIN)


def apply_entry(conversation: Conversation | None, entry: Entry) -> Conversation | None:
    """What a conversation is after `entry`; applying one again changes nothing."""
    change = entry.change
    if isinstance(change, Message) or (conversation and entry.seq <= conversation.applied_seq):
        return conversation
    if isinstance(change, MembershipChanged) and change.kind is MembershipKind.CREATED:
        return _create_conversation(entry, change)
    if conversation is None:
        return None
    if isinstance(change, MembershipChanged):
        conversation = _apply_membership(conversation, entry, change)
    elif isinstance(change, ConversationUpdated):
        conversation = _apply_update(conversation, change)
    return replace(conversation, applied_seq=entry.seq)


def _create_conversation(entry: Entry, change: MembershipChanged) -> Conversation:
    users = [user for user, _ in change.members]
    direct = len(users) == 2 and direct_id(*users) == entry.conversation_id
    return Conversation(
        conversation_id=entry.conversation_id,
        kind=ConversationKind.DIRECT if direct else ConversationKind.GROUP,
        title="",
        create_ms=entry.time_ms,
        applied_seq=entry.seq,
        members={user: ConversationMember(role, entry.seq) for user, role in change.members},
    )


def _apply_membership(conversation: Conversation, entry: Entry, change: MembershipChanged) -> Conversation:
    members, past = dict(conversation.members), dict(conversation.past_memberships)
    for user, role in change.members:
        if user in members and _ends_membership(change.kind, user, entry.actor_id):
            ended = Interval(members.pop(user).joined_seq, entry.seq)
            past[user] = (*past.pop(user, ()), ended)[-MAX_PAST_MEMBERSHIPS:]
            if len(past) > MAX_PAST_MEMBERS:
                del past[next(iter(past))]
        elif user in members:
            members[user] = replace(members[user], role=role)
        elif change.kind is MembershipKind.ADDED:
            # Who comes has nothing to read of what was before.
            members[user] = ConversationMember(
                role, entry.seq, Watermark(entry.seq - 1, entry.seq - 1, entry.message_number)
            )
    return replace(conversation, members=members, past_memberships=past)


def _ends_membership(kind: MembershipKind, user: str, actor: str) -> bool:
    """Whether a change ends the membership of `user`; who leaves may name a new admin beside."""
    return kind is MembershipKind.REMOVED or (kind is MembershipKind.LEFT and user == actor)


def _apply_update(conversation: Conversation, change: ConversationUpdated) -> Conversation:
    said = {
        name: value
        for name in ("title", "picture_media_id", "admins_only_send", "retention")
        if (value := getattr(change, name)) is not None
    }
    return replace(conversation, **said)


@dataclass(frozen=True, slots=True)
class PersonalSettings:
    """`mute_until_ms` in milliseconds since 1970, 0: not muted; `hidden`: messages deleted only from the own view."""

    mute_until_ms: int = 0
    pinned: bool = False
    archived: bool = False
    hidden: tuple[int, ...] = ()


DEFAULT_SETTINGS: Final = PersonalSettings()
# Messages a user may delete from the own view of one conversation.
MAX_HIDDEN: Final = 1000
