"""The notes in MongoDB: `_id` is the user's id and the note's, so that the notes of a user are one range."""

from __future__ import annotations

from collections.abc import AsyncIterator

from servicekit.mongo import Database, store_errors


class MongoNoteStore:
    """Stores notes as (id, text); every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._notes = database["notes"]

    async def add(self, user_id: str, note_id: str, text: str) -> None:
        """Store a note; a note that exists stays unchanged."""
        note = {"$setOnInsert": {"user": user_id, "text": text}}
        with store_errors():
            await self._notes.update_one({"_id": user_id + note_id}, note, upsert=True)

    async def watch(self, user_id: str) -> AsyncIterator[tuple[str, str]]:
        """Yield the stored notes of a user in the order of their ids, then each new one."""
        new = [{"$match": {"operationType": "insert", "fullDocument.user": user_id}}]
        with store_errors(timeout_s=None):
            async with await self._notes.watch(new) as changes:
                async for note in self._notes.find({"_id": {"$gte": user_id, "$lt": user_id + "g"}}).sort("_id"):
                    yield note["_id"][32:], note["text"]
                async for change in changes:
                    yield change["fullDocument"]["_id"][32:], change["fullDocument"]["text"]
