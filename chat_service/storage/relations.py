"""Relations between users in MongoDB: blocks, and the contacts that 1-1 conversations imply.

`blocks` holds one document per block; `_id` is the 16 bytes of the blocking user and the 16 of the blocked one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from bson import Binary
from pymongo.asynchronous.collection import AsyncCollection

from chat_service.model.ids import direct_id
from chat_service.storage.documents import encode_id
from chat_service.storage.log import ENTRIES
from servicekit.mongo import Database, Document, store_errors

Pair = tuple[str, str]
"""A user and another user."""

BLOCKS: Final = "blocks"
FIRST, LAST = "00" * 16, "ff" * 16


class MongoBlockStore:
    """Implements BlockStore; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._blocks: AsyncCollection[Document] = database[BLOCKS]

    async def block(self, user_id: str, other_id: str) -> None:
        """Block `other_id` for `user_id`; idempotent."""
        with store_errors():
            await self._blocks.update_one({"_id": _id(user_id, other_id)}, {"$setOnInsert": {"v": 1}}, upsert=True)

    async def unblock(self, user_id: str, other_id: str) -> None:
        """Unblock `other_id` for `user_id`; idempotent."""
        with store_errors():
            await self._blocks.delete_one({"_id": _id(user_id, other_id)})

    async def delete_all_of(self, user_id: str) -> None:
        """Delete the blocks that `user_id` has set; blocks against `user_id` stay."""
        with store_errors():
            await self._blocks.delete_many({"_id": {"$gte": _id(user_id, FIRST), "$lte": _id(user_id, LAST)}})

    async def list_blocked(self, user_id: str, after: str = "", limit: int = 0) -> list[str]:
        """Return the users blocked by `user_id` with ids above `after`, in order, at most `limit` (0: all)."""
        ids = {"$gt": _id(user_id, after or FIRST), "$lte": _id(user_id, LAST)}
        with store_errors():
            cursor = self._blocks.find({"_id": ids}).sort("_id", 1).hint({"_id": 1}).limit(limit)
            return [each["_id"][16:].hex() async for each in cursor]

    async def find_blocks(self, pairs: Collection[Pair]) -> set[Pair]:
        """Return who of the two users of each pair has blocked the other: (the one, the other)."""
        both_ways = {_id(*pair) for pair in pairs} | {_id(other, user) for user, other in pairs}
        if not both_ways:
            return set()
        with store_errors():
            cursor = self._blocks.find({"_id": {"$in": list(both_ways)}})
            return {(each["_id"][:16].hex(), each["_id"][16:].hex()) async for each in cursor}

    async def filter_blocking(self, user_ids: Collection[str], other_id: str) -> set[str]:
        """Return those of `user_ids` that have blocked `other_id`."""
        with store_errors():
            cursor = self._blocks.find({"_id": {"$in": [_id(user, other_id) for user in user_ids]}})
            return {each["_id"][:16].hex() async for each in cursor}

    async def is_blocked_either_way(self, one: str, other: str) -> bool:
        """Return True if one of the two users has blocked the other."""
        with store_errors():
            pair = {"_id": {"$in": [_id(one, other), _id(other, one)]}}
            return await self._blocks.find_one(pair) is not None


def _id(user_id: str, other_id: str) -> Binary:
    return Binary(bytes.fromhex(user_id + other_id))


BY_KEY: Final = {"c": 1, "k": 1}


class MongoContacts:
    """Acquaintance, read from the keys of the logs of 1-1 conversations; every method raises StoreUnavailable.

    A user is acquainted with another if an entry of their 1-1 conversation is the user's. A query for any number of
    users reads two index keys for each.
    """

    def __init__(self, database: Database) -> None:
        self._entries: AsyncCollection[Document] = database[ENTRIES]

    async def filter_acquainted(self, user_ids: Collection[str], other_id: str) -> set[str]:
        """Return those of `user_ids` that are acquainted with `other_id`."""
        found = await self.find_acquainted([(user_id, other_id) for user_id in user_ids])
        return {user_id for user_id in user_ids if (user_id, other_id) in found}

    async def find_acquainted(self, pairs: Collection[Pair]) -> set[Pair]:
        """Return who of the two users of each pair is acquainted with the other: (the one, the other)."""
        by_conversation = {direct_id(*pair): pair for pair in pairs}
        if not by_conversation:
            return set()
        # The keys of an author lie side by side, and there are two: the first key and the last one are theirs.
        first, last = await asyncio.gather(
            *(self._find_authors(outermost_keys_pipeline(by_conversation, direction)) for direction in (1, -1))
        )
        return {
            (user_id, other_id)
            for conversation_id, author_id in first + last
            for user_id, other_id in (by_conversation[conversation_id], by_conversation[conversation_id][::-1])
            if user_id == author_id
        }

    async def _find_authors(self, pipeline: list[Document]) -> list[Pair]:
        """Return conversations with the author of a key."""
        with store_errors():
            found = await self._entries.aggregate(pipeline, hint=BY_KEY)
            return [(each["_id"].hex(), each["k"][:16].hex()) async for each in found]


def outermost_keys_pipeline(conversation_ids: Collection[str], direction: int) -> list[Document]:
    """Return the pipeline that yields the first key of conversations, or with direction -1 the last one.

    It is a distinct scan of the index on `c` and `k`. A key begins with the id of its actor.
    """
    return [
        {"$match": {"c": {"$in": [encode_id(each) for each in conversation_ids]}}},
        {"$sort": dict.fromkeys(BY_KEY, direction)},
        {"$group": {"_id": "$c", "k": {"$first": "$k"}}},
    ]
