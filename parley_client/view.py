"""The view model of a conversation, built from the events of a device and from fetched history. Pure."""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, IntEnum

from parley.chat.v1 import conversation_pb2, entry_pb2
from parley.chat.v1.entry_pb2 import Entry, MembershipChanged
from parley_client.events import (
    ConversationChecked,
    ConversationGone,
    EntryReceived,
    Event,
    Membership,
    PersonalSettings,
    TypingChanged,
    WatermarkMoved,
)
from parley_client.memberships import Memberships
from parley_client.message import Message, MessageBuilder
from parley_client.messages import Messages
from parley_client.watermarks import Watermarks


class DeliveryStatus(IntEnum):
    """The delivery status of the user's own message: the lowest among the other users who have been members since.

    If there are none, it is the status of the user whose membership at that time ended last, so that it does not fall.
    """

    SENT = 1
    DELIVERED = 2
    READ = 3


class NoticeKind(Enum):
    """The change that a notice reports."""

    CREATED = "created"
    ADDED = "added"
    REMOVED = "removed"
    LEFT = "left"
    ROLE_CHANGED = "role changed"
    UPDATED = "updated"


@dataclass(frozen=True, slots=True)
class Notice:
    """A timeline item that is not a message: a change of the members, the title or the settings."""

    seq: int
    actor_id: str
    time: datetime
    entry: Entry
    """The log entry in the contract's form."""

    @property
    def kind(self) -> NoticeKind:
        """The change; UPDATED: title, picture or settings."""
        if not self.entry.HasField("membership_changed"):
            return NoticeKind.UPDATED
        return _NOTICE_KINDS.get(self.entry.membership_changed.kind, NoticeKind.UPDATED)

    @property
    def user_ids(self) -> list[str]:
        """The users who were added or removed, or whose role changed."""
        return [member.user_id for member in self.entry.membership_changed.members]

    @property
    def title(self) -> str | None:
        """The new title; None: unchanged."""
        updated = self.entry.conversation_updated
        return updated.title if updated.HasField("title") else None


_NOTICE_KINDS = {
    MembershipChanged.KIND_CREATED: NoticeKind.CREATED,
    MembershipChanged.KIND_ADDED: NoticeKind.ADDED,
    MembershipChanged.KIND_REMOVED: NoticeKind.REMOVED,
    MembershipChanged.KIND_LEFT: NoticeKind.LEFT,
    MembershipChanged.KIND_ROLE_CHANGED: NoticeKind.ROLE_CHANGED,
}


class ConversationView:
    """One conversation as user `user_id` sees it. It keeps every entry it is given; the application limits them.

    The order of arrival does not matter: a device that was offline and one that was online end with equal timelines.
    `calls` are those that the methods of its messages make. `Client.view` returns a view that loads itself.
    """

    def __init__(self, conversation_id: str, user_id: str, calls: Messages | None = None) -> None:
        self.conversation_id = conversation_id
        self.user_id = user_id
        self.title = ""
        self.picture_media_id = ""
        self.members: dict[str, entry_pb2.Role.ValueType] = {}
        """The role of each member; ROLE_UNSPECIFIED: the entry that says it was not seen yet."""
        self.admins_only_send = False
        self.retention: entry_pb2.Retention | None = None
        self.is_former_member = False
        """True once the user is no longer a member: the history stays visible, and nothing can be sent."""
        self.settings = PersonalSettings()
        self.head_seq = 0
        self.expired_seq = 1
        """Contents below this seq have reached the end of their retention."""
        self.unread_count = 0
        self.typing: set[str] = set()
        self._calls = calls
        self._hidden_seqs: frozenset[int] = frozenset()
        self._watermarks = Watermarks()
        self._memberships = Memberships(user_id)
        self._builders: dict[int, MessageBuilder] = {}
        self._notices: dict[int, Notice] = {}
        self._seqs: list[int] = []
        # By seq of a known entry: the number of messages up to it.
        self._message_numbers: dict[int, int] = {}
        self._members_seq = 0

    @property
    def timeline(self) -> list[Message | Notice]:
        """The visible messages and notices in order of seq."""
        items = (self._timeline_item(seq) for seq in self._seqs)
        return [item for item in items if item is not None]

    @property
    def messages(self) -> list[Message]:
        """The visible messages in order of seq."""
        return [item for item in self.timeline if isinstance(item, Message)]

    @property
    def newest_item(self) -> Message | Notice | None:
        """The newest visible message or notice."""
        items = (self._timeline_item(seq) for seq in reversed(self._seqs))
        return next((item for item in items if item is not None), None)

    @property
    def other_members(self) -> list[str]:
        """The ids of the other members."""
        return [user for user in self.members if user != self.user_id]

    @property
    def read_seq(self) -> int:
        """The seq up to which the user has read the conversation."""
        return self._watermarks.get(self.conversation_id, self.user_id)[1]

    def message(self, seq: int) -> Message | None:
        """Return the message at `seq`; None if it is unknown or hidden."""
        item = self._timeline_item(seq)
        return item if isinstance(item, Message) else None

    def delivery_status(self, message: Message) -> DeliveryStatus:
        """Return the delivery status of the user's own message."""
        users = self._memberships.deciding_users(message.seq, self.members)
        watermarks = [self._watermarks.get(self.conversation_id, user) for user in users]
        if watermarks and min(read for _, read in watermarks) >= message.seq:
            return DeliveryStatus.READ
        if watermarks and min(delivered for delivered, _ in watermarks) >= message.seq:
            return DeliveryStatus.DELIVERED
        return DeliveryStatus.SENT

    def apply_conversation(self, conversation: conversation_pb2.Conversation) -> None:
        """Apply a conversation that a call returned."""
        self.title, self.picture_media_id = conversation.title, conversation.picture_media_id
        self.members = {member.user_id: member.role for member in conversation.members}
        self.is_former_member = self.user_id not in self.members
        self.admins_only_send = conversation.admins_only_send
        self.retention = conversation.retention if conversation.HasField("retention") else None
        self.settings = PersonalSettings.from_proto(conversation)
        self._expire_before(conversation.expired_seq or conversation.first_seq)
        self._members_seq = max(self._members_seq, conversation.head_seq)
        self.head_seq = max(self.head_seq, conversation.head_seq)
        self._apply_watermark(self.user_id, conversation.delivered_seq, conversation.read_seq)
        self._update_unread(conversation.unread_count)

    def apply(self, event: Event) -> bool:
        """Apply an event of a device; return False if it concerns another conversation, or none."""
        if getattr(event, "conversation_id", None) != self.conversation_id:
            return False
        if isinstance(event, EntryReceived):
            self._apply_received(event.entry, event.live)
        elif isinstance(event, WatermarkMoved):
            self._apply_watermark(event.user_id, event.delivered_seq, event.read_seq)
        elif isinstance(event, ConversationChecked):
            self.head_seq = max(self.head_seq, event.head_seq)
            self.settings = event.settings
            self._hidden_seqs |= event.hidden_seqs
            self._expire_before(event.expired_seq)
            self._apply_memberships(event.memberships)
            # The server may not know yet what the user has just written or read.
            self._update_unread(event.unread_count)
        elif isinstance(event, TypingChanged):
            (self.typing.add if event.typing else self.typing.discard)(event.user_id)
        elif isinstance(event, ConversationGone):
            self.is_former_member = True
        return True

    def apply_entries(self, entries: Iterable[Entry | Message]) -> None:
        """Apply messages, or entries in the contract's form, of the history that a call returned."""
        for each in entries:
            self._apply_entry(each.entry if isinstance(each, Message) else each)

    def hide(self, seq: int) -> None:
        """Hide a message that the user deleted only for themselves."""
        self._hidden_seqs |= {seq}

    def _apply_received(self, entry: Entry, live: bool) -> None:
        self._apply_entry(entry)
        self.head_seq = max(self.head_seq, entry.seq)
        is_new = live and entry.HasField("message_appended") and entry.seq > self.read_seq
        if entry.HasField("message_appended"):
            self._apply_watermark(entry.actor_id, entry.seq, entry.seq)
        self._update_unread(self.unread_count + is_new)

    def _apply_entry(self, entry: Entry) -> None:
        kind = entry.WhichOneof("kind")
        self._message_numbers[entry.seq] = entry.message_number
        if kind == "message_appended":
            self._insert_seq(entry.seq)
            self._builder(entry.seq).apply_append(entry)
        elif kind in ("message_edited", "message_deleted", "reaction_changed"):
            target: int = getattr(entry, kind).target_seq
            self._builder(target).apply_mutation(entry)
        elif kind is not None and entry.seq not in self._notices:
            self._insert_seq(entry.seq)
            time = entry.create_time.ToDatetime(tzinfo=UTC)
            self._notices[entry.seq] = Notice(entry.seq, entry.actor_id, time, entry)
            self._note_memberships(entry)
            if entry.seq > self._members_seq:
                self._members_seq = entry.seq
                self._apply_conversation_change(entry)

    def _apply_conversation_change(self, entry: Entry) -> None:
        """Apply an entry that changes members, title or settings."""
        updated, membership = entry.conversation_updated, entry.membership_changed
        for name in ("title", "picture_media_id", "admins_only_send", "retention"):
            if updated.HasField(name):
                setattr(self, name, getattr(updated, name))
        users, former_members = [member.user_id for member in membership.members], _former_members(entry)
        self.members |= {member.user_id: member.role for member in membership.members}
        for user in former_members:
            self.members.pop(user, None)
        if self.user_id in former_members:
            self.is_former_member = True
        elif self.user_id in users:
            self.is_former_member = False

    def _apply_memberships(self, memberships: Collection[Membership]) -> None:
        """Apply a snapshot: others may have joined and left by entries that the user cannot see."""
        present = {each.user_id: each.joined_seq for each in memberships if not each.left_seq}
        for each in memberships:
            self._memberships.add(each.user_id, each.joined_seq, each.left_seq)
        for user in self._memberships.add_absent(present) if present else ():
            self.members.pop(user, None)
        for user, joined in present.items():
            if not self._memberships.has_left_since(user, joined):
                self.members.setdefault(user, entry_pb2.ROLE_UNSPECIFIED)

    def _note_memberships(self, entry: Entry) -> None:
        membership = entry.membership_changed
        if membership.kind in (MembershipChanged.KIND_CREATED, MembershipChanged.KIND_ADDED):
            for member in membership.members:
                self._memberships.add(member.user_id, joined_seq=entry.seq)
        for user in _former_members(entry):
            self._memberships.add(user, left_seq=entry.seq)

    def _expire_before(self, expired_seq: int) -> None:
        """Remove the contents of messages before `expired_seq`, whose retention has ended."""
        for seq, builder in self._builders.items() if expired_seq > self.expired_seq else ():
            if seq < expired_seq:
                builder.mark_expired()
        self.expired_seq = max(self.expired_seq, expired_seq)

    def _apply_watermark(self, user: str, delivered: int, read: int) -> None:
        change = self._watermarks.advance(self.conversation_id, user, delivered, read)
        if change is not None and user == self.user_id:
            self._update_unread(self.unread_count)

    def _update_unread(self, otherwise: int) -> None:
        """Count the messages between the last read entry and the head; set `otherwise` if one of them is unknown."""
        newest = self._message_numbers.get(self.head_seq)
        excluded = self._count_read_or_invisible()
        if self.is_former_member or self.read_seq >= self.head_seq:
            self.unread_count = 0
        elif newest is None or excluded is None or self.read_seq < self.expired_seq - 1:
            # Expired messages do not count, and only the server knows their number.
            self.unread_count = otherwise
        else:
            self.unread_count = newest - excluded

    def _count_read_or_invisible(self) -> int | None:
        """Return the number of messages up to the last read one and of later ones that the user may not see.

        None if an entry that the count depends on is not known.
        """
        numbers, joined_seqs = self._message_numbers, self._memberships.joined_seqs(self.user_id)
        # A user who has read nothing since joining may not see the entry at `read_seq`. The entry of the join, which is
        # no message, has the same number.
        next_seq = self.read_seq + 1
        counted = numbers.get(next_seq if next_seq in joined_seqs else self.read_seq)
        for joined in joined_seqs:
            if joined <= next_seq:
                continue
            left = self._memberships.left_before(self.user_id, joined)
            if not left:
                counted = numbers.get(joined)
            elif counted is not None and joined in numbers and left in numbers and self.read_seq <= left:
                counted += numbers[joined] - numbers[left]
            else:
                return None
        return counted

    def _builder(self, seq: int) -> MessageBuilder:
        return self._builders.setdefault(seq, MessageBuilder(self._calls))

    def _insert_seq(self, seq: int) -> None:
        if seq not in self._builders or self._builders[seq].message is None:
            insort(self._seqs, seq)

    def _timeline_item(self, seq: int) -> Message | Notice | None:
        if seq in self._hidden_seqs:
            return None
        builder = self._builders.get(seq)
        return self._notices.get(seq) if builder is None else builder.message


def _former_members(entry: Entry) -> list[str]:
    """Return the users whose membership an entry ends."""
    membership = entry.membership_changed
    if membership.kind == MembershipChanged.KIND_LEFT:
        return [entry.actor_id]
    return [each.user_id for each in membership.members] if membership.kind == MembershipChanged.KIND_REMOVED else []
