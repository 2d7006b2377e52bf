"""Searching in MongoDB: an index of the words of messages that begins with the conversation.

`{c, w, o}`: the messages of a conversation that have a word come in their order, so a page of many conversations
is a merge of many short scans, and ends when it is full. A query leads to the index by one of its words; the others
are compared with the words of what is found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor

from chat_service.history.message_search import Rank, SearchHit, SearchScope
from chat_service.model.conversation import Interval
from chat_service.model.entry import LAST_SEQ
from chat_service.model.words import MessageQuery
from chat_service.storage.conversations import CONVERSATIONS
from chat_service.storage.documents import decode_entry, encode_id, entry_id
from chat_service.storage.log import ENTRIES
from chat_service.storage.mongo import Database, Document, store_errors

WORD_INDEX: Final = "words"


class MongoWordIndex:
    """Implements the history's WordIndex; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._entries: AsyncCollection[Document] = database[ENTRIES]
        self._conversations: AsyncCollection[Document] = database[CONVERSATIONS]

    async def ensure_indexes(self) -> None:
        """Make the index of words where it is not there yet."""
        with store_errors(timeout_s=60.0):
            await self._entries.create_index(
                [("c", 1), ("w", 1), ("o", 1)], name=WORD_INDEX, partialFilterExpression={"w": {"$exists": True}}
            )

    async def visible_intervals(
        self, user_id: str, conversation_ids: Collection[str]
    ) -> dict[str, tuple[Interval, ...]]:
        """What the user may see of conversations, by id; those of which it is nothing are missing."""
        condition = {"_id": {"$in": [encode_id(each) for each in conversation_ids]}}
        wanted = {f"members.{user_id}.joined": 1, f"past.{user_id}": 1}
        with store_errors():
            found = {
                each["_id"].hex(): _intervals(each, user_id)
                async for each in self._conversations.find(condition, wanted)
            }
        return {conversation_id: intervals for conversation_id, intervals in found.items() if intervals}

    async def find_hits(
        self, scopes: Sequence[SearchScope], query: MessageQuery, below: Rank, limit: int
    ) -> list[SearchHit]:
        """The highest messages below a rank, highest first, at most `limit`."""
        condition = _condition(scopes, query, below)
        with store_errors():
            found = await self._found(self._entries.find(condition).sort("o", -1).limit(limit))
            if len(found) == limit:
                # The index cannot order those that have the last place in several conversations: all of them compete.
                last = found[-1].rank.order
                ties = await self._found(self._entries.find({**condition, "o": last}))
                found = [each for each in found if each.rank.order > last] + ties
        return sorted(found, key=lambda each: each.rank, reverse=True)[:limit]

    @staticmethod
    async def _found(cursor: AsyncCursor[Document]) -> list[SearchHit]:
        return [
            SearchHit(Rank(each["o"], each["c"].hex()), decode_entry(each)) async for each in cursor.hint(WORD_INDEX)
        ]


def _condition(scopes: Sequence[SearchScope], query: MessageQuery, below: Rank) -> Document:
    """What messages must have: words by the index, a place below a rank, and be seen by the one who asks."""
    condition: Document = {
        "c": {"$in": [encode_id(each.conversation_id) for each in scopes]},
        "o": {"$lte": below.order},
        **_words(query),
    }
    unseen: list[Document] = [{"o": below.order, "c": {"$gte": encode_id(below.conversation_id)}}]
    for scope in scopes:
        for gap in _outside(scope):
            # What was said there, and what was made there of messages that are seen.
            unseen.append({"_id": _span(scope.conversation_id, gap)})
            unseen.append({"c": encode_id(scope.conversation_id), "e": {"$gte": gap.first, "$lte": gap.last}})
    if hidden := [entry_id(scope.conversation_id, seq) for scope in scopes for seq in scope.hidden]:
        unseen.append({"_id": {"$in": hidden}})
    return {**condition, "$nor": unseen}


def _words(query: MessageQuery) -> Document:
    """One word for the index, and what else must be there. The longest is the rarest, as a rule."""
    also: list[Document] = [{"w": {"$regex": f"^{each}"}} for each in query.prefixes]
    if not query.words:
        return {"$and": also}
    first = max(query.words, key=len)
    # So said that it is no other way into the index, among which MongoDB would have to choose.
    rest: Document = {"$expr": {"$setIsSubset": [{"$literal": list(query.words)}, "$w"]}}
    return {"w": first, "$and": [rest, *also]} if also or len(query.words) > 1 else {"w": first}


def _outside(scope: SearchScope) -> Iterable[Interval]:
    """The parts of a log that are not seen."""
    after = 0
    for interval in scope.intervals:
        if interval.first > after + 1:
            yield Interval(after + 1, interval.first - 1)
        after = interval.last
    if after < LAST_SEQ:
        yield Interval(after + 1, LAST_SEQ)


def _span(conversation_id: str, interval: Interval) -> Document:
    return {"$gte": entry_id(conversation_id, interval.first), "$lte": entry_id(conversation_id, interval.last)}


def _intervals(document: Document, user_id: str) -> tuple[Interval, ...]:
    past: list[Any] = document.get("past", {}).get(user_id, [])
    member = document.get("members", {}).get(user_id)
    now = [(member["joined"], LAST_SEQ)] if member else []
    return tuple(Interval(first, last) for first, last in [*past, *now])
