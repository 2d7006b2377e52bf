"""The part of a conversation that one user may see: the entries of the user's intervals of membership."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from chat_service.errors import ConversationNotFound
from chat_service.model.conversation import (
    DEFAULT_SETTINGS,
    Conversation,
    ConversationMember,
    Interval,
    PersonalSettings,
    Watermark,
    apply_entry,
)
from chat_service.model.entry import LAST_SEQ, Entry, Message, MessageMutation, redact_mutation
from chat_service.model.stores import ConversationLog, ConversationStore, MembershipStore
from servicekit.failure import Failure

# A user is shown the watermarks of at most this many former memberships, those that ended last.
MAX_SHOWN_FORMER: Final = 100


@dataclass(frozen=True, slots=True)
class MembershipWatermark:
    """The watermark of a user, and the membership that it is shown for; `left_seq` is 0 if that has not ended."""

    user_id: str
    watermark: Watermark
    joined_seq: int
    left_seq: int = 0


@dataclass(frozen=True, slots=True)
class VisibleConversation:
    """A conversation as `user_id` may see it.

    If the user has left it, `conversation` is its state at that time, without members.
    """

    user_id: str
    conversation: Conversation
    intervals: tuple[Interval, ...]
    settings: PersonalSettings

    @property
    def member(self) -> ConversationMember | None:
        """The user as a member; None if the user has left."""
        return self.conversation.members.get(self.user_id)

    def intersect(self, requested: Interval) -> list[Interval]:
        """Return the parts of `requested` that the user may see, in order."""
        shared = [Interval(max(each.first, requested.first), min(each.last, requested.last)) for each in self.intervals]
        return [each for each in shared if each.first <= each.last]

    def gaps(self, first: int) -> list[Interval]:
        """Return the ranges from `first` on that the user may not see, in order, after the first one they may see."""
        starts = [each.last + 1 for each in self.intervals if each.last < LAST_SEQ]
        ends = [each.first - 1 for each in self.intervals[1:]] + [LAST_SEQ]
        gaps = [Interval(max(start, first), end) for start, end in zip(starts, ends, strict=False)]
        return [each for each in gaps if each.first <= each.last]

    def redact(self, entry: Entry) -> Entry:
        """Return `entry` without edits and reactions made while the user was not a member.

        After such an edit the content is empty: the earlier one is not stored. A deletion is shown to every reader.
        """
        message = entry.change
        if isinstance(message, MessageMutation):
            return entry if self.can_see(entry.seq) else redact_mutation(entry)
        if not isinstance(message, Message) or not (message.edit_seq or message.reactions):
            return entry
        edit_seq = message.edit_seq
        reactions = {user: each for user, each in (message.reactions or {}).items() if self.can_see(each.seq)}
        content = message.content if not edit_seq or self.can_see(edit_seq) else b""
        return replace(entry, change=replace(message, content=content, reactions=reactions))

    def can_see(self, seq: int) -> bool:
        """Return True if the user may see the entry `seq`."""
        return any(seq in each for each in self.intervals)

    def count_unread(self, messages: int, own_number: int = 0) -> int:
        """Return how many of the first `messages` messages are unread; 0 if the user has left.

        `own_number` is the number of a message of the user, who has read all before it: the stored watermark may not
        include it yet.
        """
        if self.member is None:
            return 0
        # Expired messages do not count.
        read = max(own_number, self.member.watermark.read_number, self.conversation.expired_number)
        past = self.conversation.past_memberships.get(self.user_id, ())
        earlier = sum(max(0, each.left_number - max(each.joined_number, read)) for each in past)
        return earlier + max(0, messages - max(read, self.member.joined_number))

    def list_watermarks(self) -> list[MembershipWatermark]:
        """Return the watermarks of the members, and of those former members that the status of a message depends on.

        The status of a message is the lowest status of the users who have been members since. If there are none, it is
        that of the user whose membership at that time ended last.
        """
        members = self.conversation.members
        present = [
            MembershipWatermark(user, each.watermark_for(own=user == self.user_id), each.joined_seq)
            for user, each in members.items()
        ]
        return present + (self._list_former_watermarks() if self.member else [])

    def _list_former_watermarks(self) -> list[MembershipWatermark]:
        """Return the former memberships that decide the status of a message, then those that are partly unseen.

        From their entries alone, the user's devices could not tell when the latter began or ended.
        """
        deciding = self._find_deciding_memberships()
        unseen = [] if len(self.intervals) == 1 else _ended_memberships(self.conversation)
        shown = deciding + [each for each in unseen if self._is_partly_unseen(*each) and each not in deciding]
        return [self._former_watermark(user, interval) for user, interval in shown[:MAX_SHOWN_FORMER]]

    def _former_watermark(self, user: str, interval: Interval) -> MembershipWatermark:
        member = self.conversation.members.get(user)
        mark = member.watermark if member else self.conversation.former_watermarks.get(user, Watermark())
        return MembershipWatermark(user, mark, interval.first, interval.last)

    def _find_deciding_memberships(self) -> list[tuple[str, Interval]]:
        conversation, deciding = self.conversation, list[tuple[str, Interval]]()
        others = (each.joined_seq for user, each in conversation.members.items() if user != self.user_id)
        # The visible range from before any other present member joined.
        undecided = self.intersect(Interval(1, min(others, default=LAST_SEQ) - 1))
        for user, interval in _ended_memberships(conversation) if undecided else ():
            remaining = [part for each in undecided for part in each.without(interval)]
            if user == self.user_id or remaining == undecided:
                continue
            deciding.append((user, interval))
            undecided = remaining
            if not undecided or len(deciding) == MAX_SHOWN_FORMER:
                break
        return deciding

    def _is_partly_unseen(self, user: str, interval: Interval) -> bool:
        """Return True for a membership of another user that began or ended while this user was out."""
        began_unseen = interval.first > self.intervals[0].first and not self.can_see(interval.first)
        if user == self.user_id or not (began_unseen or not self.can_see(interval.last)):
            return False
        return bool(self.intersect(interval))

    def last_own_number(self, entries: Iterable[Entry]) -> int:
        """Return the number of the user's last message among `entries`; 0 if there is none."""
        own = (each for each in entries if each.actor_id == self.user_id and isinstance(each.change, Message))
        return max((each.message_number for each in own), default=0)


class VisibilityResolver:
    """Resolves conversations to what a user may see, from the stored state and the end of the log."""

    def __init__(self, log: ConversationLog, conversations: ConversationStore, memberships: MembershipStore) -> None:
        self._log = log
        self._conversations = conversations
        self._memberships = memberships

    async def resolve(self, user_id: str, conversation_id: str) -> VisibleConversation:
        """Return one conversation as the user may see it. Raises ConversationNotFound."""
        visible = (await self.resolve_many(user_id, [conversation_id]))[conversation_id]
        if isinstance(visible, Failure):
            raise visible
        return visible

    async def resolve_many(
        self, user_id: str, conversation_ids: Collection[str]
    ) -> dict[str, VisibleConversation | ConversationNotFound]:
        """Return the conversations by id, with a failure for each one that the user may not see."""
        stored = await self._apply_log_tail(await self._conversations.load_many(conversation_ids))
        settings = await self._memberships.load_settings(user_id, conversation_ids)
        return {each: await self._resolve_one(user_id, each, stored, settings) for each in conversation_ids}

    async def resolve_present(self, user_id: str, conversation_ids: Collection[str]) -> list[VisibleConversation]:
        """Return those of the conversations of which the user is a member, in order.

        Unlike `resolve_many`, it replays no log to show what a former member may see.
        """
        stored = await self._apply_log_tail(await self._conversations.load_many(conversation_ids))
        present = [each for each in conversation_ids if each not in stored or user_id in stored[each].members]
        settings = await self._memberships.load_settings(user_id, present)
        resolved = [await self._resolve_one(user_id, each, stored, settings) for each in present]
        return [each for each in resolved if isinstance(each, VisibleConversation) and each.member is not None]

    async def load_current(self, conversation_id: str) -> Conversation | None:
        """Return a conversation as its log has it, whoever may see it; None if it does not exist."""
        stored = await self._apply_log_tail(await self._conversations.load_many([conversation_id]))
        # A conversation that is being created exists in its log only.
        return stored.get(conversation_id) or await self._replay_log(conversation_id)

    async def membership_changed(self, resolved: Iterable[VisibleConversation]) -> set[str]:
        """Return the ids of the conversations whose visible intervals have changed since they were resolved.

        Call it after reading entries: the read may have returned entries appended after the user had left.
        """
        joined = {each.conversation.conversation_id: each for each in resolved if each.member is not None}
        now = await self._apply_log_tail({name: each.conversation for name, each in joined.items()})
        return {name for name, each in joined.items() if now[name].visible_intervals(each.user_id) != each.intervals}

    async def _apply_log_tail(self, stored: Mapping[str, Conversation]) -> dict[str, Conversation]:
        """Apply the entries since `applied_seq`: an owner that crashed may have appended them without saving."""
        events = await self._log.conversation_events_after({name: each.applied_seq for name, each in stored.items()})
        return {name: _apply_events(each, events.get(name, ())) for name, each in stored.items()}

    async def _resolve_one(
        self,
        user_id: str,
        conversation_id: str,
        stored: Mapping[str, Conversation],
        settings: Mapping[str, PersonalSettings],
    ) -> VisibleConversation | ConversationNotFound:
        # A conversation that is being created exists in its log only.
        conversation = stored.get(conversation_id) or await self._replay_log(conversation_id)
        intervals = conversation.visible_intervals(user_id) if conversation else ()
        if conversation is None or not intervals:
            return ConversationNotFound("conversation not found")
        if user_id not in conversation.members:
            conversation = await self._replay_for_former_member(conversation, intervals[-1].last)
        return VisibleConversation(user_id, conversation, intervals, settings.get(conversation_id, DEFAULT_SETTINGS))

    async def _replay_for_former_member(self, conversation: Conversation, last: int) -> Conversation:
        """Return the conversation as of the entry `last`, without members.

        Title and picture are empty if retention has removed the entries that created the conversation.
        """
        replayed = await self._replay_log(conversation.conversation_id, last)
        replayed = replayed or replace(conversation, title="", picture_media_id="")
        return replace(replayed, members={}, first_seq=conversation.first_seq, expired_seq=conversation.expired_seq)

    async def _replay_log(self, conversation_id: str, last: int = LAST_SEQ) -> Conversation | None:
        """Return the conversation computed from its log up to `last`; None if its creation is not in the log."""
        conversation: Conversation | None = None
        for entry in await self._log.conversation_events(conversation_id, last):
            conversation = apply_entry(conversation, entry)
        return conversation


def _apply_events(conversation: Conversation, events: Iterable[Entry]) -> Conversation:
    for entry in events:
        conversation = apply_entry(conversation, entry) or conversation
    return conversation


def _ended_memberships(conversation: Conversation) -> list[tuple[str, Interval]]:
    """Return the ended memberships with their users, the last one to end first."""
    ended = [(user, each.interval) for user, past in conversation.past_memberships.items() for each in past]
    return sorted(ended, key=lambda each: each[1].last, reverse=True)
