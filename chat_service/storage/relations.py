"""Who has blocked whom: `_id` = 16 bytes of who blocks + 16 of who is blocked."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from bson import Binary
from pymongo.asynchronous.collection import AsyncCollection

from chat_service.model.ids import direct_id
from chat_service.storage.log import ENTRIES
from chat_service.storage.mongo import Database, Document, store_errors

BLOCKS: Final = "blocks"
FIRST, LAST = "00" * 16, "ff" * 16


class MongoBlockStore:
    """Every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._blocks: AsyncCollection[Document] = database[BLOCKS]

    async def block(self, user_id: str, other_id: str) -> None:
        """`user_id` blocks `other_id`; again changes nothing."""
        with store_errors():
            await self._blocks.update_one({"_id": _id(user_id, other_id)}, {"$setOnInsert": {"v": 1}}, upsert=True)

    async def unblock(self, user_id: str, other_id: str) -> None:
        """`user_id` does not block `other_id` any more."""
        with store_errors():
            await self._blocks.delete_one({"_id": _id(user_id, other_id)})

    async def delete_all_of(self, user_id: str) -> None:
        """`user_id` blocks nobody any more; who blocks `user_id` does so still."""
        with store_errors():
            await self._blocks.delete_many({"_id": {"$gte": _id(user_id, FIRST), "$lte": _id(user_id, LAST)}})

    async def list_blocked(self, user_id: str, after: str = "", limit: int = 0) -> list[str]:
        """Whom `user_id` blocks, with ids above `after`, in order, at most `limit` (0: all)."""
        span = {"$gt": _id(user_id, after or FIRST), "$lte": _id(user_id, LAST)}
        with store_errors():
            found = self._blocks.find({"_id": span}).sort("_id", 1).hint({"_id": 1}).limit(limit)
            return [each["_id"][16:].hex() async for each in found]

    async def filter_blocking(self, user_ids: list[str], other_id: str) -> set[str]:
        """Those of `user_ids` who block `other_id`."""
        with store_errors():
            found = self._blocks.find({"_id": {"$in": [_id(user, other_id) for user in user_ids]}})
            return {each["_id"][:16].hex() async for each in found}

    async def blocked_either_way(self, user_id: str, others: Collection[str]) -> set[str]:
        """Those of `others` who block `user_id` or are blocked by it."""
        pairs = {pair: other for other in others for pair in (_id(user_id, other), _id(other, user_id))}
        with store_errors():
            return {pairs[Binary(each["_id"])] async for each in self._blocks.find({"_id": {"$in": list(pairs)}})}

    async def is_blocked_either_way(self, one: str, other: str) -> bool:
        """Whether one of the two blocks the other."""
        with store_errors():
            pair = {"_id": {"$in": [_id(one, other), _id(other, one)]}}
            return await self._blocks.find_one(pair) is not None


def _id(user_id: str, other_id: str) -> Binary:
    return Binary(bytes.fromhex(user_id + other_id))


BY_KEY = {"c": 1, "k": 1}


class MongoContacts:
    """Reads the logs; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._entries = database[ENTRIES]

    async def filter_contacts(self, user_ids: list[str], other_id: str) -> set[str]:
        """Those of `user_ids` who have appended anything to their 1-1 conversation with `other_id`, its making too."""
        return {user_id for user_id in user_ids if await self._writes_to(user_id, other_id)}

    async def _writes_to(self, user_id: str, other_id: str) -> bool:
        actor = bytes.fromhex(user_id)
        # A key begins with its actor.
        keys = {"$gte": Binary(actor + bytes(16)), "$lte": Binary(actor + b"\xff" * 16)}
        pair = {"c": Binary(bytes.fromhex(direct_id(user_id, other_id))), "k": keys}
        with store_errors():
            return await self._entries.find_one(pair, {"_id": 1}, hint=BY_KEY) is not None
