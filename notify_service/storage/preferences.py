"""The notification preferences of users, in MongoDB."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection

from notify_service.model.preferences import (
    DEFAULT_PREFERENCES,
    Preferences,
    PreferencesChange,
    Preview,
    QuietHours,
    Scope,
)
from servicekit.mongo import Database, Document, store_errors

PREFERENCES: Final = "notify_preferences"

# The fields of the first change of a user that it leaves unset.
_DEFAULTS: Final = {
    "scope": int(DEFAULT_PREFERENCES.scope),
    "preview": int(DEFAULT_PREFERENCES.preview),
    "reactions": DEFAULT_PREFERENCES.reactions,
}


class MongoPreferencesStore:
    """Implements PreferencesStore: a document is `{_id: user id (16 bytes), scope, preview, reactions, quiet}`.

    `quiet` is `[start, end, time zone]` or None.
    """

    def __init__(self, database: Database) -> None:
        self._preferences: AsyncCollection[Document] = database[PREFERENCES]

    async def find_all(self, user_ids: Collection[str]) -> dict[str, Preferences]:
        """See PreferencesStore."""
        with store_errors():
            found = self._preferences.find({"_id": {"$in": [*map(bytes.fromhex, user_ids)]}})
            return {each["_id"].hex(): _decode(each) async for each in found}

    async def change(self, user_id: str, change: PreferencesChange) -> Preferences:
        """See PreferencesStore."""
        changed = {
            name: value
            for name, value in (("scope", change.scope), ("preview", change.preview), ("reactions", change.reactions))
            if value is not None
        }
        quiet = change.quiet_hours
        others = {name: value for name, value in _DEFAULTS.items() if name not in changed}
        update = {
            "$set": changed | {"quiet": [quiet.start_minute, quiet.end_minute, quiet.time_zone] if quiet else None},
            "$setOnInsert": others,
        }
        with store_errors():
            document: Any = await self._preferences.find_one_and_update(
                {"_id": bytes.fromhex(user_id)}, update, upsert=True, return_document=ReturnDocument.AFTER
            )
        return _decode(document)

    async def delete(self, user_id: str) -> None:
        """See PreferencesStore."""
        with store_errors():
            await self._preferences.delete_one({"_id": bytes.fromhex(user_id)})


def _decode(document: Document) -> Preferences:
    quiet_hours = None
    if document["quiet"]:
        # A time zone that this server's database no longer has: the user has none.
        with suppress(ValueError):
            quiet_hours = QuietHours(*document["quiet"])
    return Preferences(Scope(document["scope"]), Preview(document["preview"]), document["reactions"], quiet_hours)
