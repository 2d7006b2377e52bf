"""Relations between users in MongoDB: blocks, and the contacts that 1-1 conversations imply.

`blocks` holds one document per block; `_id` is the 16 bytes of the blocking user and the 16 of the blocked one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from bson import Binary
from pymongo.asynchronous.collection import AsyncCollection

from chat_service.model.ids import direct_id
from chat_service.storage.documents import encode_id
from chat_service.storage.log import ENTRIES
from servicekit.mongo import Database, Document, store_errors

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

    async def filter_blocked(self, user_id: str, others: Collection[str]) -> set[str]:
        """Return those of `others` that `user_id` has blocked."""
        with store_errors():
            cursor = self._blocks.find({"_id": {"$in": [_id(user_id, other) for other in others]}})
            return {each["_id"][16:].hex() async for each in cursor}

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
    users reads at most a few index keys for each.
    """

    def __init__(self, database: Database) -> None:
        self._entries: AsyncCollection[Document] = database[ENTRIES]

    async def filter_contacts(self, user_id: str, others: Collection[str]) -> set[str]:
        """Return those of `others` with whom `user_id` is acquainted."""
        lowest, highest = _key_bounds(user_id)
        return await self._filter(user_id, others, {"$gte": lowest, "$lte": highest})

    async def filter_acquainted(self, user_ids: Collection[str], other_id: str) -> set[str]:
        """Return those of `user_ids` that are acquainted with `other_id`."""
        # In a 1-1 conversation every entry that is not of `other_id` is of the other user.
        lowest, highest = _key_bounds(other_id)
        below = await self._filter(other_id, user_ids, {"$lt": lowest})
        return below | await self._filter(other_id, user_ids, {"$gt": highest})

    async def _filter(self, user_id: str, others: Collection[str], keys: Document) -> set[str]:
        """Return those of `others` whose 1-1 conversation with `user_id` has an entry with one of the keys."""
        if not others:
            return set()
        by_conversation = {direct_id(user_id, other): other for other in others}
        pipeline = contacts_pipeline(by_conversation, keys)
        with store_errors():
            found = await self._entries.aggregate(pipeline, hint=BY_KEY)
            return {by_conversation[each["_id"].hex()] async for each in found}


def contacts_pipeline(conversation_ids: Collection[str], keys: Document) -> list[Document]:
    """Return the pipeline that yields the conversations with a key, by a distinct scan of the index on `c` and `k`."""
    return [
        {"$match": {"c": {"$in": [encode_id(each) for each in conversation_ids]}, "k": keys}},
        {"$group": {"_id": "$c"}},
    ]


def _key_bounds(user_id: str) -> tuple[Binary, Binary]:
    """Return the lowest and the highest idempotency key of a user: a key begins with the id of its actor."""
    actor = bytes.fromhex(user_id)
    return Binary(actor + bytes(16)), Binary(actor + b"\xff" * 16)
