"""The notification preferences of users, in MongoDB."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Final

from pymongo.asynchronous.collection import AsyncCollection

from notify_service.model.preferences import Preferences, Preview, QuietHours, Scope
from servicekit.mongo import Database, Document, store_errors

PREFERENCES: Final = "notify_preferences"


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

    async def put(self, user_id: str, preferences: Preferences) -> None:
        """See PreferencesStore."""
        quiet = preferences.quiet_hours
        document = {
            "scope": int(preferences.scope),
            "preview": int(preferences.preview),
            "reactions": preferences.reactions,
            "quiet": [quiet.start_minute, quiet.end_minute, quiet.time_zone] if quiet else None,
        }
        with store_errors():
            await self._preferences.replace_one({"_id": bytes.fromhex(user_id)}, document, upsert=True)

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
