"""A conversation as an application shows it, folded from what a device tells and what was read by call. Pure."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from parley.chat.v1 import conversation_pb2, entry_pb2
from parley.chat.v1.entry_pb2 import Entry, MembershipChanged
from parley_client.events import (
    ConversationChecked,
    ConversationGone,
    EntryReceived,
    Event,
    PersonalSettings,
    TypingChanged,
    WatermarkMoved,
)
from parley_client.message import Message, MessageBuilder
from parley_client.watermarks import Watermarks


class DeliveryStatus(IntEnum):
    """How far an own message has got: with all other members, for a group."""

    SENT = 1
    DELIVERED = 2
    READ = 3


@dataclass(frozen=True, slots=True)
class Notice:
    """An entry that is shown and is no message: members came or left, or the conversation is called another name."""

    seq: int
    actor_id: str
    time: datetime
    entry: Entry


class ConversationView:
    """What user `me` sees of one conversation. It keeps whatever it is given; the application decides how much.

    A device that was away and one that was there end with equal `lines`, whatever order things came in.
    """

    def __init__(self, conversation_id: str, user_id: str) -> None:
        self.conversation_id = conversation_id
        self.user_id = user_id
        self.title = ""
        self.picture_media_id = ""
        self.members: dict[str, entry_pb2.Role.ValueType] = {}
        self.admins_only_send = False
        self.retention: entry_pb2.Retention | None = None
        self.is_former_member = False
        """Whether the user is a member no more: what was seen stays, nothing can be sent."""
        self.settings = PersonalSettings()
        self.head_seq = 0
        self.first_seq = 1
        self.unread_count = 0
        self.typing: set[str] = set()
        self._hidden_seqs: frozenset[int] = frozenset()
        self._watermarks = Watermarks()
        self._builders: dict[int, MessageBuilder] = {}
        self._notices: dict[int, Notice] = {}
        self._seqs: list[int] = []
        self._members_seq = 0

    @property
    def timeline(self) -> list[Message | Notice]:
        """What is to be shown, in order of seq."""
        lines = (self._timeline_item(seq) for seq in self._seqs)
        return [line for line in lines if line is not None]

    @property
    def messages(self) -> list[Message]:
        """The messages among them."""
        return [line for line in self.timeline if isinstance(line, Message)]

    @property
    def other_members(self) -> list[str]:
        """The other members."""
        return [user for user in self.members if user != self.user_id]

    @property
    def read_seq(self) -> int:
        """Up to where the user has read it."""
        return self._watermarks.get(self.conversation_id, self.user_id)[1]

    def message(self, seq: int) -> Message | None:
        """The message at `seq`; None if it is not here, or hidden."""
        line = self._timeline_item(seq)
        return line if isinstance(line, Message) else None

    def delivery_status(self, message: Message) -> DeliveryStatus:
        """How far an own message has got."""
        marks = [self._watermarks.get(self.conversation_id, user) for user in self.other_members]
        if marks and min(read for _, read in marks) >= message.seq:
            return DeliveryStatus.READ
        if marks and min(delivered for delivered, _ in marks) >= message.seq:
            return DeliveryStatus.DELIVERED
        return DeliveryStatus.SENT

    def apply_conversation(self, conversation: conversation_pb2.Conversation) -> None:
        """The conversation as a call answered it."""
        self.title, self.picture_media_id = conversation.title, conversation.picture_media_id
        self.members = {member.user_id: member.role for member in conversation.members}
        self.is_former_member = self.user_id not in self.members
        self.admins_only_send = conversation.admins_only_send
        self.retention = conversation.retention if conversation.HasField("retention") else None
        self.settings = PersonalSettings.from_proto(conversation)
        self._expire_before(conversation.first_seq)
        self._members_seq = max(self._members_seq, conversation.head_seq)
        self.head_seq = max(self.head_seq, conversation.head_seq)
        self._apply_watermark(self.user_id, conversation.delivered_seq, conversation.read_seq)
        self.unread_count = conversation.unread_count

    def apply(self, event: Event) -> bool:
        """What a device tells; False if it is about something else."""
        if getattr(event, "conversation_id", None) != self.conversation_id:
            return False
        if isinstance(event, EntryReceived):
            self._apply_received(event.entry, event.live)
        elif isinstance(event, WatermarkMoved):
            self._apply_watermark(event.user_id, event.delivered_seq, event.read_seq)
        elif isinstance(event, ConversationChecked):
            self.head_seq = max(self.head_seq, event.head_seq)
            self.unread_count, self.settings = event.unread_count, event.settings
            self._hidden_seqs |= event.hidden_seqs
            self._expire_before(event.first_seq)
        elif isinstance(event, TypingChanged):
            (self.typing.add if event.typing else self.typing.discard)(event.user_id)
        elif isinstance(event, ConversationGone):
            self.is_former_member = True
        return True

    def apply_entries(self, entries: Iterable[Entry]) -> None:
        """Entries that were read by call: history, as it was at that moment."""
        for entry in entries:
            self._apply_entry(entry)

    def hide(self, seq: int) -> None:
        """The user deleted a message from the own view."""
        self._hidden_seqs |= {seq}

    def _apply_received(self, entry: Entry, live: bool) -> None:
        self._apply_entry(entry)
        self.head_seq = max(self.head_seq, entry.seq)
        if not entry.HasField("message_appended"):
            return
        if entry.actor_id == self.user_id:
            self.unread_count = 0
        elif live and entry.seq > self.read_seq:
            self.unread_count += 1
        self._apply_watermark(entry.actor_id, entry.seq, entry.seq)

    def _apply_entry(self, entry: Entry) -> None:
        kind = entry.WhichOneof("kind")
        if kind == "message_appended":
            self._insert_seq(entry.seq)
            self._builders.setdefault(entry.seq, MessageBuilder()).apply_append(entry)
        elif kind in ("message_edited", "message_deleted", "reaction_changed"):
            target: int = getattr(entry, kind).target_seq
            self._builders.setdefault(target, MessageBuilder()).apply_mutation(entry)
        elif kind is not None and entry.seq not in self._notices:
            self._insert_seq(entry.seq)
            time = entry.create_time.ToDatetime(tzinfo=UTC)
            self._notices[entry.seq] = Notice(entry.seq, entry.actor_id, time, entry)
            if entry.seq > self._members_seq:
                self._members_seq = entry.seq
                self._apply_conversation_change(entry)

    def _apply_conversation_change(self, entry: Entry) -> None:
        """Members, title or settings are others now."""
        updated, moved = entry.conversation_updated, entry.membership_changed
        for name in ("title", "picture_media_id", "admins_only_send", "retention"):
            if updated.HasField(name):
                setattr(self, name, getattr(updated, name))
        users = [member.user_id for member in moved.members]
        leaving = moved.kind in (MembershipChanged.KIND_REMOVED, MembershipChanged.KIND_LEFT)
        gone = ([entry.actor_id] if moved.kind == MembershipChanged.KIND_LEFT else users) if leaving else []
        self.members |= {member.user_id: member.role for member in moved.members}
        for user in gone:
            self.members.pop(user, None)
        if self.user_id in gone:
            self.is_former_member = True
        elif self.user_id in users:
            self.is_former_member = False

    def _expire_before(self, first_seq: int) -> None:
        """What was said before `first_seq` is kept no longer."""
        for seq, told in self._builders.items() if first_seq > self.first_seq else ():
            if seq < first_seq:
                told.mark_expired()
        self.first_seq = max(self.first_seq, first_seq)

    def _apply_watermark(self, user: str, delivered: int, read: int) -> None:
        moved = self._watermarks.advance(self.conversation_id, user, delivered, read)
        if moved is None or user != self.user_id:
            return
        if moved.read_seq >= self.head_seq:
            self.unread_count = 0
        elif (newest := self._message_number(self.head_seq)) and (last_read := self._message_number(moved.read_seq)):
            self.unread_count = newest - last_read

    def _message_number(self, seq: int) -> int:
        """How many messages there were up to `seq`; 0: not known here."""
        known = self._seqs[: bisect_right(self._seqs, seq)]
        lines = (self._builders[each].message for each in reversed(known) if each in self._builders)
        return next((message.number for message in lines if message), 0)

    def _insert_seq(self, seq: int) -> None:
        if seq not in self._builders or self._builders[seq].message is None:
            insort(self._seqs, seq)

    def _timeline_item(self, seq: int) -> Message | Notice | None:
        if seq in self._hidden_seqs:
            return None
        told = self._builders.get(seq)
        return self._notices.get(seq) if told is None else told.message
