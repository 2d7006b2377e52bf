"""The generation of the change index, kept in MongoDB: it moves on whenever the index may have lost something.

A server that cannot reach the index goes on without noting what changes, once it is written here that it owes. Until
the last debt is settled nobody hands out cursors, and settling it moves the generation on: the debts of the dead too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, replace
from typing import Final

from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from chat_service.storage.mongo import Database, Document, store_errors
from servicekit.tasks import cancel_requested

META: Final = "meta"
RECORD: Final = "change_index"


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """A life of the index: its number, the run id of the Redis it lives in ("" if that is not known), who owes."""

    number: int
    run_id: str
    dirty_servers: frozenset[str] = frozenset()

    def after_clearing(self, debtors: Collection[str], run_id: str) -> GenerationRecord:
        """What it is once these owe no more: the next one, unless others still do."""
        owing = self.dirty_servers - frozenset(debtors)
        return replace(self, number=self.number + (not owing), run_id=run_id or self.run_id, dirty_servers=owing)


class MongoGenerationStore:
    """The one record all servers agree on; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._meta: AsyncCollection[Document] = database[META]

    async def load(self) -> GenerationRecord:
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

    async def advance(self, seen: GenerationRecord, run_id: str) -> tuple[GenerationRecord, bool]:
        """The generation after `seen`, and whether it was this call that moved it on."""
        with store_errors():
            document = await self._meta.find_one_and_update(
                {"_id": RECORD, "generation": seen.number},
                {"$inc": {"generation": 1}, "$set": {"run_id": run_id}},
                return_document=ReturnDocument.AFTER,
            )
        return (_generation(document), True) if document else (await self.load(), False)

    async def mark_dirty(self, debtor: str) -> GenerationRecord:
        """Write down that `debtor` may leave changes unnoted from now on."""
        with store_errors():
            document = await self._meta.find_one_and_update(
                {"_id": RECORD}, {"$addToSet": {"owing": debtor}}, return_document=ReturnDocument.AFTER
            )
        return _generation(document or {})

    async def clear_dirty(self, debtors: Collection[str], run_id: str) -> tuple[GenerationRecord, bool]:
        """Strike out debts, and move the generation on if nobody owes any more; whether this call moved it.

        An empty `run_id` leaves the one that is known.
        """
        owing = {"$setDifference": [{"$ifNull": ["$owing", []]}, list(debtors)]}
        moved = {"$cond": [{"$eq": ["$owing", []]}, {"$add": ["$generation", 1]}, "$generation"]}
        changes: list[Document] = [
            {"$set": {"owing": owing}},
            {"$set": {"generation": moved, "run_id": run_id or "$run_id"}},
        ]
        with store_errors():
            document = await self._meta.find_one_and_update({"_id": RECORD}, changes)
        before = _generation(document or {})
        after = before.after_clearing(debtors, run_id)
        return after, after.number > before.number

    async def watch(self) -> AsyncIterator[GenerationRecord]:
        """The generation now, and every later one; ends with StoreUnavailable when MongoDB goes away."""
        with store_errors(timeout_s=None):
            pipeline = [{"$match": {"documentKey._id": RECORD}}]
            async with await self._meta.watch(pipeline, full_document="updateLookup") as stream:
                yield await self.load()
                while not cancel_requested():
                    # Waits for a while, and then says that nothing happened.
                    event = await stream.try_next()
                    if event and event.get("fullDocument"):
                        yield _generation(event["fullDocument"])


def _generation(document: Document) -> GenerationRecord:
    owing = frozenset(document.get("owing", ()))
    return GenerationRecord(int(document.get("generation", 1)), str(document.get("run_id", "")), owing)
