"""The word index in MongoDB, in the collection of the logs.

The index is `{c, w, o}`: within a conversation and a word, messages stand in the order of their rank. A page over many
conversations is a merge of many short scans that ends when the page is full. A query uses one of its words for the
index and compares the others with the words of the matches.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor

from chat_service.history.message_search import Rank, SearchHit, SearchScope
from chat_service.model.conversation import Interval
from chat_service.model.entry import LAST_SEQ
from chat_service.model.words import MessageQuery
from chat_service.storage.conversations import CONVERSATIONS
from chat_service.storage.documents import decode_entry, encode_id, entry_id, id_range
from chat_service.storage.log import ENTRIES
from servicekit.mongo import Database, Document, index_builds, store_errors

WORD_INDEX: Final = "words"


class MongoWordIndex:
    """Implements WordIndex; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._entries: AsyncCollection[Document] = database[ENTRIES]
        self._conversations: AsyncCollection[Document] = database[CONVERSATIONS]

    async def ensure_indexes(self) -> None:
        """Create the index unless it exists."""
        with index_builds():
            await self._entries.create_index(
                [("c", 1), ("w", 1), ("o", 1)], name=WORD_INDEX, partialFilterExpression={"w": {"$exists": True}}
            )

    async def visible_intervals(
        self, user_id: str, conversation_ids: Collection[str]
    ) -> dict[str, tuple[Interval, ...]]:
        """Read only the fields of this user from the documents of conversations."""
        condition = {"_id": {"$in": [encode_id(each) for each in conversation_ids]}}
        fields = {f"members.{user_id}.joined": 1, f"past.{user_id}": 1}
        with store_errors():
            by_id = {
                each["_id"].hex(): _decode_intervals(each, user_id)
                async for each in self._conversations.find(condition, fields)
            }
        return {conversation_id: intervals for conversation_id, intervals in by_id.items() if intervals}

    async def find_hits(
        self, scopes: Sequence[SearchScope], query: MessageQuery, below: Rank, limit: int
    ) -> list[SearchHit]:
        """Read a page in the order of `o`, and order messages of equal `o` by conversation."""
        condition = _condition(scopes, query, below)
        with store_errors():
            hits = await self._read_hits(self._entries.find(condition).sort("o", -1).limit(limit))
            if len(hits) == limit:
                # The index does not order messages of several conversations with the same `o`: read all of the lowest.
                lowest = hits[-1].rank.order
                ties = await self._read_hits(self._entries.find({**condition, "o": lowest}))
                hits = [each for each in hits if each.rank.order > lowest] + ties
        return sorted(hits, key=lambda each: each.rank, reverse=True)[:limit]

    @staticmethod
    async def _read_hits(cursor: AsyncCursor[Document]) -> list[SearchHit]:
        return [
            SearchHit(Rank(each["o"], each["c"].hex()), decode_entry(each)) async for each in cursor.hint(WORD_INDEX)
        ]


def _condition(scopes: Sequence[SearchScope], query: MessageQuery, below: Rank) -> Document:
    """Return the condition on messages: the words of the query, a rank less than `below`, and visible to the user."""
    condition: Document = {
        "c": {"$in": [encode_id(each.conversation_id) for each in scopes]},
        "o": {"$lte": below.order},
        **_word_condition(query),
    }
    excluded: list[Document] = [{"o": below.order, "c": {"$gte": encode_id(below.conversation_id)}}]
    for scope in scopes:
        for gap in scope.invisible_intervals():
            # Exclude messages in the gap, and visible messages whose last edit is in the gap.
            excluded.append({"_id": id_range(scope.conversation_id, gap.first, gap.last)})
            excluded.append({"c": encode_id(scope.conversation_id), "e": {"$gte": gap.first, "$lte": gap.last}})
    if hidden := [entry_id(scope.conversation_id, seq) for scope in scopes for seq in scope.hidden]:
        excluded.append({"_id": {"$in": hidden}})
    return {**condition, "$nor": excluded}


def _word_condition(query: MessageQuery) -> Document:
    """Return the condition on words. The longest word, usually the rarest, selects the range of the index."""
    prefixes: list[Document] = [{"w": {"$regex": f"^{each}"}} for each in query.prefixes]
    if not query.words:
        return {"$and": prefixes}
    longest = max(query.words, key=len)
    # An expression, which cannot use the index: with several candidate ranges MongoDB would have to choose one.
    others: Document = {"$expr": {"$setIsSubset": [{"$literal": list(query.words)}, "$w"]}}
    return {"w": longest, "$and": [others, *prefixes]} if prefixes or len(query.words) > 1 else {"w": longest}


def _decode_intervals(document: Document, user_id: str) -> tuple[Interval, ...]:
    past: list[Any] = document.get("past", {}).get(user_id, [])
    member = document.get("members", {}).get(user_id)
    current = [(member["joined"], LAST_SEQ)] if member else []
    return tuple(Interval(first, last) for first, last in [*past, *current])
