"""The state of a conversation that is derived from its log: kind, title, settings and members."""

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

# Former memberships of one user that are kept, the newest; entries seen only in older ones are not shown any more.
MAX_PAST_MEMBERSHIPS: Final = 20
# Users whose former memberships are kept: those that ended last.
MAX_PAST_MEMBERS: Final = 1000
DEFAULT_RETENTION: Final = Retention()


class ConversationKind(IntEnum):
    """The kind of a conversation; the values are those of the protos."""

    DIRECT = 1
    GROUP = 2


@dataclass(frozen=True, slots=True)
class Watermark:
    """The last entries delivered to and read by a member. `read_number` is the message number at `read_seq`."""

    delivered_seq: int = 0
    read_seq: int = 0
    read_number: int = 0

    def max_with(self, other: Watermark) -> Watermark:
        """Return the maximum of both, field by field; what is read counts as delivered."""
        return Watermark(
            max(self.delivered_seq, other.delivered_seq, other.read_seq),
            max(self.read_seq, other.read_seq),
            max(self.read_number, other.read_number),
        )


@dataclass(frozen=True, slots=True)
class ConversationMember:
    """The membership of a user.

    `joined_seq` is the first entry that the member may see, and `joined_number` the number of messages before it.
    `shown_watermark` is the watermark that other users are shown; None: `watermark`. It differs after a block.
    """

    role: Role
    joined_seq: int
    watermark: Watermark = field(default_factory=Watermark)
    joined_number: int = 0
    shown_watermark: Watermark | None = None

    def watermark_for(self, own: bool) -> Watermark:
        """Return the watermark as the member, or as another user, is shown it."""
        return self.watermark if own or self.shown_watermark is None else self.shown_watermark


@dataclass(frozen=True, slots=True)
class Interval:
    """The seqs from `first` to `last`, both included."""

    first: int
    last: int

    def __contains__(self, seq: int) -> bool:
        return self.first <= seq <= self.last

    def without(self, other: Interval) -> list[Interval]:
        """Return the parts of this interval outside of `other`, in order."""
        parts = [
            Interval(self.first, min(self.last, other.first - 1)),
            Interval(max(self.first, other.last + 1), self.last),
        ]
        return [each for each in parts if each.first <= each.last]


@dataclass(frozen=True, slots=True)
class PastMembership:
    """An ended membership: the entries that the user may see, and the number of messages before and up to its end."""

    interval: Interval
    joined_number: int = 0
    left_number: int = 0


@dataclass(frozen=True, slots=True)
class Conversation:
    """The result of applying the entries of a log up to `applied_seq`.

    `past_memberships` has the ended memberships of each user, oldest first, also of users who are members again. Its
    users are in the order in which their last memberships ended. `former_watermarks` has the watermarks of the users
    who are not members any more.

    Retention keeps no content below `first_seq`. Content below `expired_seq` has reached its age, so that devices
    remove it too; the rest was removed because every device has received it, and devices keep it. `expired_number` is
    the number of messages below `expired_seq`.
    """

    conversation_id: str
    kind: ConversationKind
    title: str
    create_ms: int
    applied_seq: int
    members: Mapping[str, ConversationMember]
    past_memberships: Mapping[str, tuple[PastMembership, ...]] = field(default_factory=dict)
    former_watermarks: Mapping[str, Watermark] = field(default_factory=dict)
    picture_media_id: str = ""
    admins_only_send: bool = False
    retention: Retention = DEFAULT_RETENTION
    first_seq: int = 1
    expired_seq: int = 1
    expired_number: int = 0

    def visible_intervals(self, user_id: str) -> tuple[Interval, ...]:
        """Return the intervals of the log that `user_id` may see, in order; empty for a user who never was a member."""
        ended = tuple(each.interval for each in self.past_memberships.get(user_id, ()))
        member = self.members.get(user_id)
        return ended if member is None else (*ended, Interval(member.joined_seq, LAST_SEQ))

    def can_see(self, user_id: str, seq: int) -> bool:
        """Return True if `user_id` may see the entry `seq`."""
        return any(seq in interval for interval in self.visible_intervals(user_id))

    def former_readers(self, seq: int) -> list[str]:
        """Return the users who are not members any more and may see the entry `seq`."""
        return [
            user
            for user, past in self.past_memberships.items()
            if user not in self.members and any(seq in each.interval for each in past)
        ]

    def admins(self) -> Iterator[str]:
        """Yield the ids of the members who are admins."""
        return (user for user, member in self.members.items() if member.role is Role.ADMIN)


def apply_entry(conversation: Conversation | None, entry: Entry) -> Conversation | None:
    """Return the conversation after `entry`; an entry that is applied already changes nothing.

    Return None if the conversation does not exist and `entry` does not create it.
    """
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
    former_watermarks = dict(conversation.former_watermarks)
    for user, role in change.members:
        if user in members and _ends_membership(change.kind, user, entry.actor_id):
            member = members.pop(user)
            former_watermarks[user] = member.watermark
            ended = PastMembership(Interval(member.joined_seq, entry.seq), member.joined_number, entry.message_number)
            past[user] = (*past.pop(user, ()), ended)[-MAX_PAST_MEMBERSHIPS:]
            if len(past) > MAX_PAST_MEMBERS:
                oldest = next(iter(past))
                del past[oldest]
                former_watermarks.pop(oldest, None)
        elif user in members:
            members[user] = replace(members[user], role=role)
        elif change.kind is MembershipKind.ADDED:
            # A new member may not see the earlier entries. The watermark of a former member continues.
            before = Watermark(entry.seq - 1, entry.seq - 1, entry.message_number)
            watermark = former_watermarks.pop(user, before)
            members[user] = ConversationMember(role, entry.seq, watermark, entry.message_number)
    return replace(conversation, members=members, past_memberships=past, former_watermarks=former_watermarks)


def _ends_membership(kind: MembershipKind, user: str, actor: str) -> bool:
    """Return True if a change ends the membership of `user`; a LEFT change may also name a new admin, who stays."""
    return kind is MembershipKind.REMOVED or (kind is MembershipKind.LEFT and user == actor)


def _apply_update(conversation: Conversation, change: ConversationUpdated) -> Conversation:
    changed_fields = {
        name: value
        for name in ("title", "picture_media_id", "admins_only_send", "retention")
        if (value := getattr(change, name)) is not None
    }
    return replace(conversation, **changed_fields)


@dataclass(frozen=True, slots=True)
class PersonalSettings:
    """A user's own settings for one conversation.

    `mute_until_ms` is in milliseconds since 1970, 0 if not muted. `hidden` has the seqs of the messages that the user
    has deleted from the own view only.
    """

    mute_until_ms: int = 0
    pinned: bool = False
    archived: bool = False
    hidden: tuple[int, ...] = ()


DEFAULT_SETTINGS: Final = PersonalSettings()
# Messages that a user may hide in one conversation.
MAX_HIDDEN: Final = 1000
