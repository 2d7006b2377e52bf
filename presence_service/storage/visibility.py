"""The visibility settings of users, in MongoDB."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection

from presence_service.model.visibility import DEFAULT_VISIBILITY, Audience, Visibility
from servicekit.mongo import Database, Document, store_errors

VISIBILITY: Final = "presence_visibility"


class MongoVisibilityStore:
    """Implements VisibilityStore: a document is `{_id: user id (16 bytes), online: Audience, seen: Audience}`.

    A field that was never set is absent.
    """

    def __init__(self, database: Database) -> None:
        self._settings: AsyncCollection[Document] = database[VISIBILITY]

    async def find_all(self, user_ids: Collection[str]) -> dict[str, Visibility]:
        """See VisibilityStore."""
        with store_errors():
            found = self._settings.find({"_id": {"$in": [*map(bytes.fromhex, user_ids)]}})
            return {each["_id"].hex(): _decode(each) async for each in found}

    async def update(self, user_id: str, online: Audience | None, last_seen: Audience | None) -> Visibility:
        """See VisibilityStore."""
        changes = {name: int(audience) for name, audience in (("online", online), ("seen", last_seen)) if audience}
        with store_errors():
            document = await self._settings.find_one_and_update(
                {"_id": bytes.fromhex(user_id)},
                {"$set": {"v": 1, **changes}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return _decode(document or {})

    async def delete(self, user_id: str) -> None:
        """See VisibilityStore."""
        with store_errors():
            await self._settings.delete_one({"_id": bytes.fromhex(user_id)})


def _decode(document: Document) -> Visibility:
    return Visibility(
        Audience(document.get("online", DEFAULT_VISIBILITY.online)),
        Audience(document.get("seen", DEFAULT_VISIBILITY.last_seen)),
    )
