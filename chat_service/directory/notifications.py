"""The context of notifications: the conversation, the sender, and the counts of each recipient."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from chat_service.accounts.account import Profile
from chat_service.history.history import History, UnreadConversation
from chat_service.model.conversation import Conversation
from chat_service.model.stores import MembershipStore
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable
from servicekit.tasks import gather_limited

# Conversations of a recipient that the badge counts, and those that are counted at once.
MAX_BADGE_CONVERSATIONS: Final = 1000
BADGE_PAGE: Final = 100
MAX_CONCURRENT_RECIPIENTS: Final = 16
DESCRIBE_TIMEOUT_S: Final = 10.0

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


@dataclass(frozen=True, slots=True)
class NotificationContext:
    """The context of notifications about a conversation; `conversation` is None if it does not exist."""

    conversation: Conversation | None
    sender_name: str
    recipients: list[Recipient]


class NotificationContextReader:
    """Reads the context of notifications; its counts are those that users get with their conversations."""

    def __init__(
        self, history: History, memberships: MembershipStore, load_profiles: LoadProfiles, clock: Clock
    ) -> None:
        self._history = history
        self._memberships = memberships
        self._load_profiles = load_profiles
        self._clock = clock

    async def load_context(
        self, conversation_id: str, sender_id: str, recipient_ids: Collection[str]
    ) -> NotificationContext:
        """Return the context, with the recipients in the order of `recipient_ids`.

        Raises StoreUnavailable, also after DESCRIBE_TIMEOUT_S.
        """
        try:
            async with asyncio.timeout(DESCRIBE_TIMEOUT_S):
                sender = (await self._load_profiles([sender_id])).get(sender_id)
                conversation = await self._history.load_conversation(conversation_id)
                load_recipient = partial(self._load_recipient, conversation)
                recipients = await gather_limited(load_recipient, recipient_ids, limit=MAX_CONCURRENT_RECIPIENTS)
        except TimeoutError:
            raise StoreUnavailable("counting unread messages took too long") from None
        return NotificationContext(conversation, sender.display_name if sender else "", recipients)

    async def _load_recipient(self, conversation: Conversation | None, user_id: str) -> Recipient:
        if conversation is None or user_id not in conversation.members:
            return Recipient(user_id)
        badge, own = await self._count_badge(user_id, conversation.conversation_id)
        # A conversation beyond the bound of the badge is counted by itself.
        counted = own or await self._history.count_unread(user_id, [conversation.conversation_id])
        if not counted:
            return Recipient(user_id)
        member, settings = counted[0].member, counted[0].visible.settings
        return Recipient(
            user_id,
            member=True,
            mute_end_ms=settings.mute_until_ms if self._is_muted(counted[0]) else 0,
            read_seq=member.watermark.read_seq,
            unread_count=counted[0].unread_count,
            badge_count=badge,
        )

    async def _count_badge(self, user_id: str, conversation_id: str) -> tuple[int, list[UnreadConversation]]:
        """Return the unread messages of the first MAX_BADGE_CONVERSATIONS conversations on the user's main list.

        Also returns the counted conversation with this id, if it is one of them.
        """
        badge, after, own = 0, "", list[UnreadConversation]()
        for _ in range(MAX_BADGE_CONVERSATIONS // BADGE_PAGE):
            ids = await self._memberships.list_conversations(user_id, after, BADGE_PAGE)
            unread = await self._history.count_unread(user_id, ids)
            badge += sum(each.unread_count for each in unread if self._counts_in_badge(each))
            own += [each for each in unread if each.visible.conversation.conversation_id == conversation_id]
            if len(ids) < BADGE_PAGE:
                break
            after = ids[-1]
        return badge, own

    def _counts_in_badge(self, unread: UnreadConversation) -> bool:
        return not (unread.visible.settings.archived or self._is_muted(unread))

    def _is_muted(self, unread: UnreadConversation) -> bool:
        return unread.visible.settings.mute_until_ms > self._clock.now_ms()
