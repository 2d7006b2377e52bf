"""The last-seen times of users, in MongoDB: Redis may lose them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from servicekit.mongo import Database, Document, store_errors

LAST_SEEN: Final = "presence_last_seen"


class MongoLastSeenStore:
    """Implements LastSeenStore: a document is `{_id: user id (16 bytes), ms: time}`."""

    def __init__(self, database: Database) -> None:
        self._times: AsyncCollection[Document] = database[LAST_SEEN]

    async def raise_all(self, seen_ms: Mapping[str, int]) -> None:
        """See LastSeenStore."""
        if not seen_ms:
            return
        writes = [
            UpdateOne({"_id": bytes.fromhex(user_id)}, {"$max": {"ms": ms}}, upsert=True)
            for user_id, ms in seen_ms.items()
        ]
        with store_errors():
            await self._times.bulk_write(writes, ordered=False)

    async def find_all(self, user_ids: Collection[str]) -> dict[str, int]:
        """See LastSeenStore."""
        with store_errors():
            found = self._times.find({"_id": {"$in": [*map(bytes.fromhex, user_ids)]}})
            return {each["_id"].hex(): each["ms"] async for each in found}

    async def delete(self, user_id: str) -> None:
        """See LastSeenStore."""
        with store_errors():
            await self._times.delete_one({"_id": bytes.fromhex(user_id)})
