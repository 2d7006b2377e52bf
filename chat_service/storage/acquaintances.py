"""Who has written to whom, as the logs of their 1-1 conversations tell: one look into an index for each pair."""

from __future__ import annotations

from bson import Binary

from chat_service.model.ids import direct_id
from chat_service.storage.log import ENTRIES
from chat_service.storage.mongo import Database, store_errors

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
