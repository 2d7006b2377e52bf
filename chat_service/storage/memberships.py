"""Which conversations a user has, and what the user has set for each; also those the user has left.

`_id` = 16 bytes of the user + 16 of the conversation, so that the conversations of a user are one range of its index.
Not clustered: MongoDB reads a whole clustered collection to find a few ids of it. `mute`, `pinned`, `archived` and
`hidden` are the user's own.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from bson import Binary
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from chat_service.model.conversation import MAX_HIDDEN, Conversation, PersonalSettings
from chat_service.storage.batch_loader import BatchLoader
from chat_service.storage.mongo import Database, Document, store_errors

MEMBERSHIPS: Final = "memberships"
FIRST, LAST = "00" * 16, "ff" * 16


class MongoMembershipStore:
    """Every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._memberships: AsyncCollection[Document] = database[MEMBERSHIPS]
        self._reads = BatchLoader(self._personal_of)

    async def add_members(self, conversation: Conversation) -> None:
        """Let the members find the conversation; again changes nothing."""
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
        """The ids of a user's conversations above `after`, in order, at most `limit` (0: all)."""
        span = {"$gt": _id(user_id, after or FIRST), "$lte": _id(user_id, LAST)}
        with store_errors():
            found = self._memberships.find({"_id": span}, {"_id": 1}).sort("_id", 1).hint({"_id": 1}).limit(limit)
            return [each["_id"][16:].hex() async for each in found]

    async def load_settings(self, user_id: str, conversation_ids: Collection[str]) -> dict[str, PersonalSettings]:
        """What the user has set, by conversation; those without a membership are missing."""
        found = await self._reads.get([_id(user_id, each) for each in conversation_ids])
        return {each[16:].hex(): personal for each, personal in found.items()}

    async def _personal_of(self, ids: Collection[Binary]) -> dict[Binary, PersonalSettings]:
        with store_errors():
            found = self._memberships.find({"_id": {"$in": list(ids)}})
            return {Binary(each["_id"]): _personal(each) async for each in found}

    async def update_settings(self, user_id: str, conversation_id: str, **settings: Any) -> None:
        """Set `mute_until_ms`, `pinned` or `archived`, as in Personal."""
        with store_errors():
            await self._memberships.update_one({"_id": _id(user_id, conversation_id)}, {"$set": settings})

    async def hide_message(self, user_id: str, conversation_id: str, seq: int, first_seq: int) -> bool:
        """Take a message out of the user's view; False when there are MOST_HIDDEN already at or above `first_seq`."""
        place = {"_id": _id(user_id, conversation_id)}
        room = {"$or": [{"hidden": seq}, {f"hidden.{MAX_HIDDEN - 1}": {"$exists": False}}]}
        with store_errors():
            if first_seq > 1:
                await self._memberships.update_one(place, {"$pull": {"hidden": {"$lt": first_seq}}})
            answer = await self._memberships.update_one({**place, **room}, {"$addToSet": {"hidden": seq}})
        return answer.matched_count == 1

    async def delete_all_of(self, user_id: str) -> None:
        """Drop all of a user's, for one that is no user any more."""
        with store_errors():
            await self._memberships.delete_many({"_id": {"$gte": _id(user_id, FIRST), "$lte": _id(user_id, LAST)}})


def _personal(document: Document) -> PersonalSettings:
    return PersonalSettings(
        document.get("mute_until_ms", 0),
        document.get("pinned", False),
        document.get("archived", False),
        tuple(sorted(document.get("hidden", ()))),
    )


def _id(user_id: str, conversation_id: str) -> Binary:
    return Binary(bytes.fromhex(user_id + conversation_id))
