"""Finding messages by their words, in one conversation of a caller or in all of them, newest first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Final, Protocol

from chat_service.errors import ConversationNotFound, StoreUnavailable
from chat_service.history.visibility import VisibilityResolver, VisibleConversation
from chat_service.model.conversation import Interval
from chat_service.model.entry import Entry
from chat_service.model.stores import MembershipStore
from chat_service.model.words import MessageQuery

# Conversations that are asked for at once.
SCOPE_BATCH: Final = 100
# Longer than a person waits.
SEARCH_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    """Where a message stands among all: later ones are higher; `order` tells two of one conversation apart."""

    order: int
    conversation_id: str


HIGHEST_RANK: Final = Rank(2**63 - 1, "")


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message, and where it stands."""

    rank: Rank
    entry: Entry


@dataclass(frozen=True, slots=True)
class SearchScope:
    """What of a conversation is looked through: what the caller may see, and did not hide."""

    conversation_id: str
    intervals: tuple[Interval, ...]
    hidden: tuple[int, ...] = ()


class WordIndex(Protocol):
    """Where words lead to messages. Every method raises StoreUnavailable."""

    async def visible_intervals(
        self, user_id: str, conversation_ids: Collection[str]
    ) -> Mapping[str, tuple[Interval, ...]]:
        """What the user may see of conversations, by id; those of which it is nothing are missing."""

    async def find_hits(
        self, scopes: Sequence[SearchScope], query: MessageQuery, below: Rank, limit: int
    ) -> Sequence[SearchHit]:
        """The highest messages below a rank, highest first, at most `limit`."""


class MessageSearch:
    """Searches for one caller at a time, inside the intervals of membership."""

    def __init__(self, index: WordIndex, memberships: MembershipStore, visibility: VisibilityResolver) -> None:
        self._index = index
        self._memberships = memberships
        self._visibility = visibility

    async def search(
        self, user_id: str, conversation_id: str, query: MessageQuery, below: Rank, limit: int
    ) -> list[SearchHit]:
        """At most `limit` messages below a rank, highest first; in all conversations if `conversation_id` is empty.

        Of each portion of conversations no more than `limit` are in memory. Raises ConversationNotFound, and
        StoreUnavailable after LONGEST_S.
        """
        found = list[SearchHit]()
        try:
            async with asyncio.timeout(SEARCH_TIMEOUT_S):
                async for scopes in self._scopes(user_id, conversation_id):
                    more = await self._index.find_hits(scopes, query, below, limit)
                    found = nlargest(limit, [*found, *more], key=lambda each: each.rank)
        except TimeoutError:
            raise StoreUnavailable("this search takes too long; more words, or one conversation, take less") from None
        return await self._drop_invisible(user_id, found)

    async def _drop_invisible(self, user_id: str, found: list[SearchHit]) -> list[SearchHit]:
        """Without what was found where the user is no member any more."""
        sights = await self._visibility.resolve_many(user_id, {each.entry.conversation_id for each in found})
        return [each for each in found if _can_see(sights[each.entry.conversation_id], each.entry.seq)]

    async def _scopes(self, user_id: str, conversation_id: str) -> AsyncIterator[list[SearchScope]]:
        if conversation_id:
            sight = await self._visibility.resolve(user_id, conversation_id)
            yield [SearchScope(conversation_id, sight.intervals, sight.settings.hidden)]
            return
        after = ""
        while ids := await self._memberships.list_conversations(user_id, after, SCOPE_BATCH):
            visible, personal = await asyncio.gather(
                self._index.visible_intervals(user_id, ids), self._memberships.load_settings(user_id, ids)
            )
            if visible:
                yield [
                    SearchScope(each, intervals, personal[each].hidden if each in personal else ())
                    for each, intervals in visible.items()
                ]
            after = ids[-1]


def _can_see(sight: VisibleConversation | ConversationNotFound, seq: int) -> bool:
    return isinstance(sight, VisibleConversation) and sight.can_see(seq)
