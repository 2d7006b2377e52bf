"""The search for messages by words, in one conversation of a user or in all of them, newest first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Final, Protocol

from chat_service.errors import ConversationNotFound
from chat_service.history.visibility import VisibilityResolver, VisibleConversation
from chat_service.model.conversation import Interval
from chat_service.model.entry import LAST_SEQ, Entry
from chat_service.model.stores import MembershipStore
from chat_service.model.words import MessageQuery
from servicekit.errors import StoreUnavailable

# Conversations of one query of the word index.
SCOPE_BATCH: Final = 100
SEARCH_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    """The position of a message in the order of all messages; later messages rank higher.

    `order` grows with the time of the message and is unique within its conversation.
    """

    order: int
    conversation_id: str


HIGHEST_RANK: Final = Rank(2**63 - 1, "")


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message that matches a query, and its rank."""

    rank: Rank
    entry: Entry


@dataclass(frozen=True, slots=True)
class SearchScope:
    """The part of a conversation to search: the intervals that the user may see, except the `hidden` seqs."""

    conversation_id: str
    intervals: tuple[Interval, ...]
    hidden: tuple[int, ...] = ()

    def invisible_intervals(self) -> Iterator[Interval]:
        """Yield the intervals of the log between and around the visible ones."""
        after = 0
        for interval in self.intervals:
            if interval.first > after + 1:
                yield Interval(after + 1, interval.first - 1)
            after = interval.last
        if after < LAST_SEQ:
            yield Interval(after + 1, LAST_SEQ)


class WordIndex(Protocol):
    """An index of messages by their words. Every method raises StoreUnavailable."""

    async def visible_intervals(
        self, user_id: str, conversation_ids: Collection[str]
    ) -> Mapping[str, tuple[Interval, ...]]:
        """Return the intervals that the user may see, by conversation; conversations without any are absent."""

    async def find_hits(
        self, scopes: Sequence[SearchScope], query: MessageQuery, below: Rank, limit: int
    ) -> Sequence[SearchHit]:
        """Return the messages with the highest ranks less than `below`, highest first, at most `limit`."""


class MessageSearch:
    """Searches messages for one user a call. Finds no message outside the user's intervals of membership."""

    def __init__(self, index: WordIndex, memberships: MembershipStore, visibility: VisibilityResolver) -> None:
        self._index = index
        self._memberships = memberships
        self._visibility = visibility

    async def search(
        self, user_id: str, conversation_id: str, queries: Sequence[MessageQuery], below: Rank, limit: int
    ) -> list[SearchHit]:
        """Return at most `limit` hits of any of `queries` with ranks less than `below`, highest first.

        Searches all conversations of the user if `conversation_id` is empty, in batches of SCOPE_BATCH with at most
        `limit` hits each. Raises ConversationNotFound, and StoreUnavailable after SEARCH_TIMEOUT_S.
        """
        hits = dict[Rank, SearchHit]()
        try:
            async with asyncio.timeout(SEARCH_TIMEOUT_S):
                async for scopes in self._scopes(user_id, conversation_id):
                    for query in queries:
                        hits |= {each.rank: each for each in await self._index.find_hits(scopes, query, below, limit)}
                    hits = {rank: hits[rank] for rank in nlargest(limit, hits)}
        except TimeoutError:
            raise StoreUnavailable("the search took too long; search for more words or in one conversation") from None
        return await self._drop_invisible(user_id, list(hits.values()))

    async def _drop_invisible(self, user_id: str, hits: list[SearchHit]) -> list[SearchHit]:
        """Return the hits that the user may still see; a membership may have ended during the search."""
        visible = await self._visibility.resolve_many(user_id, {each.entry.conversation_id for each in hits})
        return [each for each in hits if _can_see(visible[each.entry.conversation_id], each.entry.seq)]

    async def _scopes(self, user_id: str, conversation_id: str) -> AsyncIterator[list[SearchScope]]:
        if conversation_id:
            visible = await self._visibility.resolve(user_id, conversation_id)
            yield [SearchScope(conversation_id, visible.intervals, visible.settings.hidden)]
            return
        after = ""
        while ids := await self._memberships.list_conversations(user_id, after, SCOPE_BATCH):
            intervals, settings = await asyncio.gather(
                self._index.visible_intervals(user_id, ids), self._memberships.load_settings(user_id, ids)
            )
            if intervals:
                yield [
                    SearchScope(each, visible_intervals, settings[each].hidden if each in settings else ())
                    for each, visible_intervals in intervals.items()
                ]
            after = ids[-1]


def _can_see(visible: VisibleConversation | ConversationNotFound, seq: int) -> bool:
    return isinstance(visible, VisibleConversation) and visible.can_see(seq)
