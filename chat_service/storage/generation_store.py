"""The generation of the change index in MongoDB: a number that advances whenever the index may have lost touches.

A server that cannot reach the index marks itself dirty here before it continues without touches. While any server is
dirty no server issues cursors. The write that clears the last dirty server advances the generation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, replace
from typing import Final

from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from servicekit.mongo import Database, Document, store_errors
from servicekit.tasks import cancel_requested

META: Final = "meta"
RECORD: Final = "change_index"


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """The current generation, the run id of its Redis ("" if unknown), and the servers that are dirty."""

    number: int
    run_id: str
    dirty_servers: frozenset[str] = frozenset()

    def after_clearing(self, servers: Collection[str], run_id: str) -> GenerationRecord:
        """Return the record without these dirty servers, advanced if no server is dirty any more."""
        dirty = self.dirty_servers - frozenset(servers)
        return replace(self, number=self.number + (not dirty), run_id=run_id or self.run_id, dirty_servers=dirty)


class MongoGenerationStore:
    """The record that all servers share, one document of `meta`; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._meta: AsyncCollection[Document] = database[META]

    async def load(self) -> GenerationRecord:
        """Return the majority-committed record; insert generation 1 if there is none."""
        with store_errors():
            try:
                document = await self._meta.find_one_and_update(
                    {"_id": RECORD},
                    {"$setOnInsert": {"generation": 1, "run_id": ""}},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:
                # A concurrent call has inserted it.
                document = await self._meta.find_one({"_id": RECORD})
        return _decode(document or {})

    async def advance(self, expected: GenerationRecord, run_id: str) -> tuple[GenerationRecord, bool]:
        """Advance the generation if it is `expected`; return the record and True if this call advanced it."""
        with store_errors():
            document = await self._meta.find_one_and_update(
                {"_id": RECORD, "generation": expected.number},
                {"$inc": {"generation": 1}, "$set": {"run_id": run_id}},
                return_document=ReturnDocument.AFTER,
            )
        return (_decode(document), True) if document else (await self.load(), False)

    async def mark_dirty(self, server: str) -> GenerationRecord:
        """Add a dirty server; return the record. Call it before the server omits a touch."""
        with store_errors():
            document = await self._meta.find_one_and_update(
                {"_id": RECORD}, {"$addToSet": {"owing": server}}, return_document=ReturnDocument.AFTER
            )
        return _decode(document or {})

    async def clear_dirty(self, servers: Collection[str], run_id: str) -> tuple[GenerationRecord, bool]:
        """Remove dirty servers, and advance the generation if none is left.

        Return the record and True if this call advanced it. An empty `run_id` keeps the stored one.
        """
        dirty = {"$setDifference": [{"$ifNull": ["$owing", []]}, list(servers)]}
        generation = {"$cond": [{"$eq": ["$owing", []]}, {"$add": ["$generation", 1]}, "$generation"]}
        changes: list[Document] = [
            {"$set": {"owing": dirty}},
            {"$set": {"generation": generation, "run_id": run_id or "$run_id"}},
        ]
        with store_errors():
            document = await self._meta.find_one_and_update({"_id": RECORD}, changes)
        before = _decode(document or {})
        after = before.after_clearing(servers, run_id)
        return after, after.number > before.number

    async def watch(self) -> AsyncIterator[GenerationRecord]:
        """Yield the current record, then each later one. Raises StoreUnavailable when MongoDB cannot be reached."""
        with store_errors(timeout_s=None):
            pipeline = [{"$match": {"documentKey._id": RECORD}}]
            async with await self._meta.watch(pipeline, full_document="updateLookup") as stream:
                yield await self.load()
                while not cancel_requested():
                    # Returns None after a while without an event, so that a cancellation is noticed.
                    event = await stream.try_next()
                    if event and event.get("fullDocument"):
                        yield _decode(event["fullDocument"])


def _decode(document: Document) -> GenerationRecord:
    dirty = frozenset(document.get("owing", ()))
    return GenerationRecord(int(document.get("generation", 1)), str(document.get("run_id", "")), dirty)
