"""A conversation as one user may see it: its intervals of membership, and nothing of what was outside them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from chat_service.errors import ConversationNotFound
from chat_service.model.conversation import (
    DEFAULT_SETTINGS,
    Conversation,
    ConversationMember,
    Interval,
    PersonalSettings,
    apply_entry,
)
from chat_service.model.entry import LAST_SEQ, Entry, Message
from chat_service.model.stores import ConversationLog, ConversationStore, MembershipStore
from servicekit.failure import Failure


@dataclass(frozen=True, slots=True)
class VisibleConversation:
    """What `user_id` sees; of a conversation that was left: what it was then, without its members."""

    user_id: str
    conversation: Conversation
    intervals: tuple[Interval, ...]
    settings: PersonalSettings

    @property
    def member(self) -> ConversationMember | None:
        """The user's part in it; None once it was left."""
        return self.conversation.members.get(self.user_id)

    def intersect(self, asked: Interval) -> list[Interval]:
        """The parts of `asked` that the user may see, in order."""
        shared = [Interval(max(each.first, asked.first), min(each.last, asked.last)) for each in self.intervals]
        return [each for each in shared if each.first <= each.last]

    def redact(self, entry: Entry) -> Entry:
        """`entry` as the user may see it: what others made of a message while the user was no member is not shown.

        That it was deleted is: who takes something back takes it back from all.
        """
        message = entry.change
        if not isinstance(message, Message) or not (message.edit_seq or message.reactions):
            return entry
        edit_seq = message.edit_seq
        reactions = {user: each for user, each in (message.reactions or {}).items() if self.can_see(each.seq)}
        content = message.content if not edit_seq or self.can_see(edit_seq) else b""
        return replace(entry, change=replace(message, content=content, reactions=reactions))

    def can_see(self, seq: int) -> bool:
        """Whether the user may see the entry `seq`."""
        return any(seq in each for each in self.intervals)

    def count_unread(self, messages: int) -> int:
        """How many of the first `messages` messages the user has not read; 0 once it was left."""
        if self.member is None:
            return 0
        # What is no longer kept cannot be read any more.
        return max(0, messages - max(self.member.watermark.read_number, self.conversation.first_number))


class VisibilityResolver:
    """Finds out what users may see."""

    def __init__(self, log: ConversationLog, conversations: ConversationStore, memberships: MembershipStore) -> None:
        self._log = log
        self._conversations = conversations
        self._memberships = memberships

    async def resolve(self, user_id: str, conversation_id: str) -> VisibleConversation:
        """One conversation. Raises ConversationNotFound."""
        sight = (await self.resolve_many(user_id, [conversation_id]))[conversation_id]
        if isinstance(sight, Failure):
            raise sight
        return sight

    async def resolve_many(
        self, user_id: str, conversation_ids: Collection[str]
    ) -> dict[str, VisibleConversation | ConversationNotFound]:
        """Several at once, by id."""
        kept = await self._apply_log_tail(await self._conversations.load_many(conversation_ids))
        personal = await self._memberships.load_settings(user_id, conversation_ids)
        return {each: await self._resolve_one(user_id, each, kept, personal) for each in conversation_ids}

    async def membership_changed(self, sights: Iterable[VisibleConversation]) -> set[str]:
        """Those conversations, by id, of which the user is no member any more since they were looked at.

        Asked after entries were read: whatever was appended after the user had left was not for these eyes.
        """
        open_ended = {each.conversation.conversation_id: each for each in sights if each.member is not None}
        now = await self._apply_log_tail({name: each.conversation for name, each in open_ended.items()})
        return {
            name for name, each in open_ended.items() if now[name].visible_intervals(each.user_id) != each.intervals
        }

    async def _apply_log_tail(self, kept: Mapping[str, Conversation]) -> dict[str, Conversation]:
        """What was kept, with what the log says since: an owner that dies may not have kept it yet."""
        newer = await self._log.conversation_events_after({name: each.applied_seq for name, each in kept.items()})
        return {name: _apply_events(each, newer.get(name, ())) for name, each in kept.items()}

    async def _resolve_one(
        self,
        user_id: str,
        conversation_id: str,
        kept: Mapping[str, Conversation],
        personal: Mapping[str, PersonalSettings],
    ) -> VisibleConversation | ConversationNotFound:
        # While it is being made only its log knows of it.
        conversation = kept.get(conversation_id) or await self._replay_log(conversation_id)
        intervals = conversation.visible_intervals(user_id) if conversation else ()
        if conversation is None or not intervals:
            return ConversationNotFound("no such conversation")
        if user_id not in conversation.members:
            # Of its beginning too much may be removed to tell what it was.
            then = await self._replay_log(conversation_id, intervals[-1].last)
            then = then or replace(conversation, title="", picture_media_id="")
            first_seq, first_number = conversation.first_seq, conversation.first_number
            conversation = replace(then, members={}, first_seq=first_seq, first_number=first_number)
        return VisibleConversation(user_id, conversation, intervals, personal.get(conversation_id, DEFAULT_SETTINGS))

    async def _replay_log(self, conversation_id: str, last: int = LAST_SEQ) -> Conversation | None:
        """The conversation as its log up to `last` tells it; None if there is none."""
        conversation: Conversation | None = None
        for entry in await self._log.conversation_events(conversation_id, last):
            conversation = apply_entry(conversation, entry)
        return conversation


def _apply_events(conversation: Conversation, turns: Iterable[Entry]) -> Conversation:
    for entry in turns:
        conversation = apply_entry(conversation, entry) or conversation
    return conversation
