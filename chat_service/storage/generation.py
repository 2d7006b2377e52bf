"""The generation of the change index, kept in MongoDB: it moves on whenever the index may have lost something."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from chat_service.storage.mongo import Database, Document, store_errors
from servicekit.ending import asked_to_end

COLLECTION: Final = "meta"
RECORD: Final = "change_index"


@dataclass(frozen=True, slots=True)
class Generation:
    """A life of the index: its number, and the run id of the Redis it lives in ("" if that is not known)."""

    number: int
    run_id: str


class MongoGeneration:
    """The one record all servers agree on; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._meta: AsyncCollection[Document] = database[COLLECTION]

    async def load(self) -> Generation:
        """The generation now, as a majority knows it; the first one is 1."""
        with store_errors():
            try:
                document = await self._meta.find_one_and_update(
                    {"_id": RECORD},
                    {"$setOnInsert": {"generation": 1, "run_id": ""}},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:
                # Two servers made it at once.
                document = await self._meta.find_one({"_id": RECORD})
        return _generation(document or {})

    async def move_on(self, seen: Generation, run_id: str) -> tuple[Generation, bool]:
        """The generation after `seen`, and whether it was this call that moved it on."""
        with store_errors():
            document = await self._meta.find_one_and_update(
                {"_id": RECORD, "generation": seen.number},
                {"$inc": {"generation": 1}, "$set": {"run_id": run_id}},
                return_document=ReturnDocument.AFTER,
            )
        return (_generation(document), True) if document else (await self.load(), False)

    async def watch(self) -> AsyncIterator[Generation]:
        """The generation now, and every later one; ends with StoreUnavailable when MongoDB goes away."""
        with store_errors(deadline=None):
            pipeline = [{"$match": {"documentKey._id": RECORD}}]
            async with await self._meta.watch(pipeline, full_document="updateLookup") as stream:
                yield await self.load()
                while not asked_to_end():
                    # Waits for a while, and then says that nothing happened.
                    event = await stream.try_next()
                    if event and event.get("fullDocument"):
                        yield _generation(event["fullDocument"])


def _generation(document: Document) -> Generation:
    return Generation(int(document.get("generation", 1)), str(document.get("run_id", "")))
