"""The context of notifications: the conversation, the sender, and the counts of each recipient."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from chat_service.accounts.account import Profile
from chat_service.directory.relations import BlockReader
from chat_service.history.history import History, UnreadConversation
from chat_service.model.conversation import Conversation
from chat_service.model.stores import ConversationLog, MembershipStore
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable
from servicekit.tasks import gather_limited

# Conversations of a recipient that the badge counts, and those that are counted at once.
MAX_BADGE_CONVERSATIONS: Final = 1000
BADGE_PAGE: Final = 100
MAX_CONCURRENT_RECIPIENTS: Final = 16
# Shorter than an attempt of the callers, which have half of their 12 s for each.
DESCRIBE_TIMEOUT_S: Final = 5.0
# The part of it in which badges are counted. Recipients who are in many conversations must not make the call fail, as
# the notify service would repeat it for ever, and notify none of the others.
BADGE_TIME_S: Final = 2.5

LoadProfiles = Callable[[Collection[str]], Awaitable[Mapping[str, Profile]]]
"""Returns the profiles of users by id; users that do not exist are absent."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """A user to notify. If the user is not a member, all other fields have their defaults.

    `mute_end_ms` is in milliseconds since 1970, 0 if the conversation is not muted now.
    """

    user_id: str
    member: bool = False
    mute_end_ms: int = 0
    read_seq: int = 0
    unread_count: int = 0
    badge_count: int = 0
    blocks_sender: bool = False


@dataclass(frozen=True, slots=True)
class NotificationContext:
    """The context of notifications about a conversation; `conversation` is None if it does not exist.

    `target_authors` are the authors of the requested entries, empty for those that do not exist; `deleted_seqs` are the
    requested messages that were deleted for all.
    """

    conversation: Conversation | None
    sender_name: str
    recipients: list[Recipient]
    target_authors: list[str]
    deleted_seqs: list[int]


class NotificationContextReader:
    """Reads the context of notifications; its counts are those that users get with their conversations."""

    def __init__(
        self,
        history: History,
        log: ConversationLog,
        memberships: MembershipStore,
        blocks: BlockReader,
        load_profiles: LoadProfiles,
        clock: Clock,
    ) -> None:
        self._history = history
        self._log = log
        self._memberships = memberships
        self._blocks = blocks
        self._load_profiles = load_profiles
        self._clock = clock

    async def load_context(
        self,
        conversation_id: str,
        sender_id: str,
        recipient_ids: Collection[str],
        target_seqs: Collection[int] = (),
        newest_seq: int = 0,
        message_seqs: Collection[int] = (),
    ) -> NotificationContext:
        """Return the context, with recipients and authors of entries in the order of `recipient_ids` and `target_seqs`.

        With `newest_seq` the badge is counted only for recipients who may be notified of entries up to it. Raises
        StoreUnavailable, also after DESCRIBE_TIMEOUT_S.
        """
        try:
            async with asyncio.timeout(DESCRIBE_TIMEOUT_S):
                sender = (await self._load_profiles([sender_id])).get(sender_id)
                conversation = await self._history.load_conversation(conversation_id)
                blocking = await self._blocks.filter_blocking(recipient_ids, sender_id)
                load_recipient = partial(
                    self._load_recipient, conversation, blocking, newest_seq, self._clock.monotonic() + BADGE_TIME_S
                )
                recipients = await gather_limited(load_recipient, recipient_ids, limit=MAX_CONCURRENT_RECIPIENTS)
                targets = await self._log.load_targets(conversation_id, {*target_seqs, *message_seqs})
        except TimeoutError:
            raise StoreUnavailable("counting unread messages took too long") from None
        authors = [targets[seq].author_id if seq in targets else "" for seq in target_seqs]
        deleted = [seq for seq in message_seqs if seq in targets and targets[seq].deleted]
        return NotificationContext(conversation, sender.display_name if sender else "", recipients, authors, deleted)

    async def _load_recipient(
        self,
        conversation: Conversation | None,
        blocking: Collection[str],
        newest_seq: int,
        badge_until: float,
        user_id: str,
    ) -> Recipient:
        if conversation is None or user_id not in conversation.members:
            return Recipient(user_id)
        counted = await self._history.count_unread(user_id, [conversation.conversation_id])
        if not counted:
            return Recipient(user_id)
        [own] = counted
        is_muted, blocks, read_seq = self._is_muted(own), user_id in blocking, own.member.watermark.read_seq
        is_notified = not (is_muted or blocks or read_seq >= newest_seq)
        return Recipient(
            user_id,
            member=True,
            mute_end_ms=own.visible.settings.mute_until_ms if is_muted else 0,
            read_seq=read_seq,
            unread_count=own.unread_count,
            # The badge is most of the cost.
            badge_count=await self._count_badge(user_id, own, badge_until) if is_notified or not newest_seq else 0,
            blocks_sender=blocks,
        )

    async def _count_badge(self, user_id: str, own: UnreadConversation, until: float) -> int:
        """Return the unread messages of the first MAX_BADGE_CONVERSATIONS conversations on the user's main list.

        `own` is one that is counted already. Those that are not reached by `until`, a monotonic time, are left out.
        """
        badge, after, own_id = 0, "", own.visible.conversation.conversation_id
        for _ in range(MAX_BADGE_CONVERSATIONS // BADGE_PAGE):
            if self._clock.monotonic() >= until:
                return max(badge, own.unread_count if self._counts_in_badge(own) else 0)
            ids = await self._memberships.list_conversations(user_id, after, BADGE_PAGE)
            unread = await self._history.count_unread(user_id, [each for each in ids if each != own_id])
            if own_id in ids:
                unread.append(own)
            badge += sum(each.unread_count for each in unread if self._counts_in_badge(each))
            if len(ids) < BADGE_PAGE:
                break
            after = ids[-1]
        return badge

    def _counts_in_badge(self, unread: UnreadConversation) -> bool:
        return not (unread.visible.settings.archived or self._is_muted(unread))

    def _is_muted(self, unread: UnreadConversation) -> bool:
        return unread.visible.settings.mute_until_ms > self._clock.now_ms()
