"""The present and former conversations of each user in MongoDB, and the user's own settings for each.

`_id` is the 16 bytes of the user and the 16 of the conversation, so that the conversations of a user are one range of
the index. The collection is not clustered, because MongoDB reads a whole clustered collection to find a few ids. The
settings are `mute_until_ms`, `pinned`, `archived` and `hidden`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from bson import Binary
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from chat_service.model.conversation import MAX_HIDDEN, Conversation, PersonalSettings
from servicekit.batch_loader import BatchLoader
from servicekit.mongo import Database, Document, store_errors

MEMBERSHIPS: Final = "memberships"
FIRST, LAST = "00" * 16, "ff" * 16


class MongoMembershipStore:
    """Implements MembershipStore; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._memberships: AsyncCollection[Document] = database[MEMBERSHIPS]
        self._reads = BatchLoader(self._load_settings)

    async def add_members(self, conversation: Conversation) -> None:
        """Add the conversation to those of its members; idempotent."""
        updates = [
            UpdateOne(
                {"_id": _id(user, conversation.conversation_id)},
                {"$setOnInsert": {"joined": member.joined_seq}},
                upsert=True,
            )
            for user, member in conversation.members.items()
        ]
        if updates:
            with store_errors():
                await self._memberships.bulk_write(updates, ordered=False)

    async def list_conversations(self, user_id: str, after: str = "", limit: int = 0) -> list[str]:
        """Read one range of `_id`. See MembershipStore."""
        ids = {"$gt": _id(user_id, after or FIRST), "$lte": _id(user_id, LAST)}
        with store_errors():
            cursor = self._memberships.find({"_id": ids}, {"_id": 1}).sort("_id", 1).hint({"_id": 1}).limit(limit)
            return [each["_id"][16:].hex() async for each in cursor]

    async def load_settings(self, user_id: str, conversation_ids: Collection[str]) -> dict[str, PersonalSettings]:
        """Read through a batch loader."""
        by_id = await self._reads.get([_id(user_id, each) for each in conversation_ids])
        return {each[16:].hex(): settings for each, settings in by_id.items()}

    async def _load_settings(self, ids: Collection[Binary]) -> dict[Binary, PersonalSettings]:
        with store_errors():
            cursor = self._memberships.find({"_id": {"$in": list(ids)}})
            return {Binary(each["_id"]): _decode_settings(each) async for each in cursor}

    async def update_settings(self, user_id: str, conversation_id: str, **settings: Any) -> None:
        """Set the fields; the settings have the names of the fields."""
        with store_errors():
            await self._memberships.update_one({"_id": _id(user_id, conversation_id)}, {"$set": settings})

    async def hide_message(self, user_id: str, conversation_id: str, seq: int, first_seq: int) -> bool:
        """Add `seq` to `hidden` if fewer than MAX_HIDDEN are left after the seqs below `first_seq` are dropped."""
        membership = {"_id": _id(user_id, conversation_id)}
        hidden_or_not_full = {"$or": [{"hidden": seq}, {f"hidden.{MAX_HIDDEN - 1}": {"$exists": False}}]}
        with store_errors():
            if first_seq > 1:
                await self._memberships.update_one(membership, {"$pull": {"hidden": {"$lt": first_seq}}})
            result = await self._memberships.update_one(
                {**membership, **hidden_or_not_full}, {"$addToSet": {"hidden": seq}}
            )
        return result.matched_count == 1

    async def delete_all_of(self, user_id: str) -> None:
        """Delete all memberships of a user, when the account is deleted."""
        with store_errors():
            await self._memberships.delete_many({"_id": {"$gte": _id(user_id, FIRST), "$lte": _id(user_id, LAST)}})


def _decode_settings(document: Document) -> PersonalSettings:
    return PersonalSettings(
        document.get("mute_until_ms", 0),
        document.get("pinned", False),
        document.get("archived", False),
        tuple(sorted(document.get("hidden", ()))),
    )


def _id(user_id: str, conversation_id: str) -> Binary:
    return Binary(bytes.fromhex(user_id + conversation_id))
