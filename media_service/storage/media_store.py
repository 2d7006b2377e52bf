"""The records of files in MongoDB; their documents are described in `media_documents.py`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from bson import Binary
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from media_service.model.media import MediaFacts, MediaFile, MediaState
from media_service.model.media_store import Usage
from media_service.storage.media_documents import decode_file, encode_facts, encode_failure, encode_file, encode_id
from servicekit.failure import Failure
from servicekit.mongo import Database, Document, index_builds, store_errors

FILES: Final = "media_files"
VISIBLE: Final = [int(state) for state in MediaState if state is not MediaState.REMOVED]
USAGE_INDEX: Final = "usage"


class MongoMediaStore:
    """Implements MediaStore; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._files: AsyncCollection[Document] = database[FILES]

    async def ensure_indexes(self) -> None:
        """Create the indexes unless they exist."""
        digest = {"sha": {"$exists": True}}
        with index_builds():
            await self._files.create_index([("owner", 1), ("request", 1)], name="request", unique=True)
            await self._files.create_index([("owner", 1), ("state", 1), ("bytes", 1)], name=USAGE_INDEX)
            await self._files.create_index([("owner", 1), ("_id", 1)], name="owner")
            await self._files.create_index([("owner", 1), ("sha", 1)], name="digest", partialFilterExpression=digest)
            await self._files.create_index([("base", 1)], name="base")
            await self._files.create_index([("state", 1), ("due", 1)], name="state_due")

    async def insert(self, file: MediaFile) -> MediaFile:
        """See MediaStore."""
        document = encode_file(file)
        try:
            with store_errors():
                await self._files.insert_one(document)
        except DuplicateKeyError:
            # Also the driver's own retry of an insert whose outcome was unknown.
            with store_errors():
                found = await self._files.find_one({"owner": document["owner"], "request": document["request"]})
            if found is None:
                raise
            return decode_file(found)
        return file

    async def find(self, media_id: str) -> MediaFile | None:
        """See MediaStore."""
        return (await self.find_all([media_id])).get(media_id)

    async def find_all(self, media_ids: Collection[str]) -> dict[str, MediaFile]:
        """See MediaStore."""
        with store_errors():
            found = [decode_file(each) async for each in self._files.find(_ids(media_ids))]
        return {file.media_id: file for file in found}

    async def find_identical(self, file: MediaFile, sha256: bytes) -> MediaFile | None:
        """See MediaStore."""
        condition = {
            "owner": encode_id(file.owner_id),
            "sha": Binary(sha256),
            "size": file.description.size_bytes,
            "opaque": file.description.opaque,
            "state": int(MediaState.READY),
        }
        with store_errors():
            found = await self._files.find_one(condition)
        return decode_file(found) if found is not None else None

    async def load_usage(self, owner_id: str) -> Usage:
        """Read the keys of one index."""
        pipeline: list[Document] = [
            {"$match": {"owner": encode_id(owner_id), "state": {"$in": VISIBLE}}},
            {"$group": {"_id": "$state", "files": {"$sum": 1}, "bytes": {"$sum": "$bytes"}}},
        ]
        with store_errors():
            by_state = {each["_id"]: each async for each in await self._files.aggregate(pipeline, hint=USAGE_INDEX)}
        return Usage(
            sum(each["files"] for each in by_state.values()),
            sum(each["bytes"] for each in by_state.values()),
            by_state.get(int(MediaState.UPLOADING), {"files": 0})["files"],
        )

    async def list_owned(self, owner_id: str, after: str, limit: int) -> list[MediaFile]:
        """See MediaStore."""
        condition = {"owner": encode_id(owner_id), "_id": {"$gt": encode_id(after)}, "state": {"$in": VISIBLE}}
        with store_errors():
            return [decode_file(each) async for each in self._files.find(condition).sort("_id").limit(limit)]

    async def set_upload_id(self, media_id: str, upload_id: str) -> bool:
        """See MediaStore."""
        first = {"_id": encode_id(media_id), "state": int(MediaState.UPLOADING), "upload": ""}
        return await self._change(first, {"$set": {"upload": upload_id}})

    async def lease(self, media_id: str, holder: str, now_ms: int, until_ms: int) -> MediaFile | None:
        """See MediaStore."""
        # A holder may extend its lease just after it has finished or removed the file.
        free = {"state": int(MediaState.UPLOADING), "$or": _free_lease(now_ms)}
        condition = {"_id": encode_id(media_id), "$or": [free, {"lease.by": holder}]}
        new = {"$cond": [{"$eq": ["$lease.by", holder]}, 0, 1]}
        tries = {"$add": [{"$ifNull": ["$tries", 0]}, new]}
        change = [{"$set": {"lease": {"by": holder, "until": until_ms}, "tries": tries}}]
        with store_errors():
            leased = await self._files.find_one_and_update(condition, change, return_document=ReturnDocument.AFTER)
        return decode_file(leased) if leased is not None else None

    async def release(self, media_id: str, holder: str) -> None:
        """See MediaStore."""
        await self._change({"_id": encode_id(media_id), "lease.by": holder}, {"$unset": {"lease": 1}})

    async def adopt(self, media_id: str, holder: str, base_id: str) -> bool:
        """See MediaStore."""
        return await self._change(_leased(media_id, holder), {"$set": {"base": encode_id(base_id)}})

    async def set_facts(self, media_id: str, holder: str, sha256: bytes, facts: MediaFacts) -> bool:
        """See MediaStore."""
        known = {"sha": Binary(sha256)} if sha256 else {}
        return await self._change(_leased(media_id, holder), {"$set": {"facts": encode_facts(facts), **known}})

    async def finish(
        self, media_id: str, holder: str, state: MediaState, *, stored_bytes: int, due_ms: int
    ) -> MediaFile | None:
        """See MediaStore."""
        change = {"$set": {"state": int(state), "bytes": stored_bytes, "due": due_ms}}
        with store_errors():
            finished = await self._files.find_one_and_update(
                _leased(media_id, holder), change, return_document=ReturnDocument.AFTER
            )
        return decode_file(finished) if finished is not None else None

    async def decide_scan(self, media_id: str, state: MediaState, *, due_ms: int, expire_ms: int) -> bool:
        """See MediaStore."""
        scanning = {"_id": encode_id(media_id), "state": int(MediaState.SCANNING)}
        decided = {"state": int(state), "due": due_ms, "expires": expire_ms}
        return await self._change(scanning, {"$set": decided, "$unset": {"mark": 1}})

    async def claim(self, media_ids: Collection[str], until_ms: int) -> set[str]:
        """See MediaStore."""
        ready = {**_ids(media_ids), "state": int(MediaState.READY)}
        change = {"$max": {"pinned": until_ms}, "$set": {"expires": 0}, "$unset": {"mark": 1}}
        with store_errors():
            result = await self._files.update_many(ready, change)
            if result.matched_count == len(media_ids):
                return set(media_ids)
            # A file that is claimed is not removed before `until_ms`, so it is still READY here.
            return {each["_id"].hex() async for each in self._files.find({**ready, "pinned": {"$gte": until_ms}}, [])}

    async def remove(
        self,
        media_id: str,
        states: Collection[MediaState],
        now_ms: int,
        failure: Failure | None = None,
        holder: str | None = None,
    ) -> bool:
        """See MediaStore."""
        condition: Document = {"_id": encode_id(media_id), "state": {"$in": [int(state) for state in states]}}
        if holder is not None:
            condition["lease.by"] = holder
        return await self._change(condition, _removal(now_ms, failure, end_lease=holder is None))

    async def reset_attempts(self, media_id: str) -> None:
        """See MediaStore."""
        await self._change({"_id": encode_id(media_id)}, {"$set": {"tries": 1}})

    async def expire(self, media_id: str, now_ms: int) -> bool:
        """See MediaStore."""
        condition = {"_id": encode_id(media_id), "state": int(MediaState.UPLOADING), "$or": _free_lease(now_ms)}
        return await self._change(condition, _removal(now_ms))

    async def take_due(
        self, states: Collection[MediaState], mark: str, now_ms: int, until_ms: int, limit: int
    ) -> list[MediaFile]:
        """See MediaStore."""
        due = {"state": {"$in": [int(state) for state in states]}, "due": {"$lte": now_ms}}
        with store_errors():
            ids = [each["_id"] async for each in self._files.find(due, []).sort("due").limit(limit)]
            await self._files.update_many({"_id": {"$in": ids}, **due}, {"$set": {"mark": mark, "due": until_ms}})
            return [decode_file(each) async for each in self._files.find({"_id": {"$in": ids}, "mark": mark})]

    async def postpone(self, media_ids: Collection[str], mark: str, due_ms: int) -> None:
        """See MediaStore."""
        with store_errors():
            await self._files.update_many(
                {**_ids(media_ids), "mark": mark}, {"$set": {"due": due_ms}, "$unset": {"mark": 1}}
            )

    async def remove_marked(self, media_ids: Collection[str], mark: str, now_ms: int) -> int:
        """See MediaStore."""
        unclaimed = {"state": int(MediaState.READY), "mark": mark, "pinned": {"$not": {"$gte": now_ms}}}
        with store_errors():
            return (await self._files.update_many({**_ids(media_ids), **unclaimed}, _removal(now_ms))).modified_count

    async def list_users_of(self, base_id: str, media_id: str) -> list[MediaFile]:
        """See MediaStore."""
        condition = {"base": encode_id(base_id), "_id": {"$ne": encode_id(media_id)}, "state": {"$in": VISIBLE}}
        with store_errors():
            return [decode_file(each) async for each in self._files.find(condition)]

    async def count_shared(self, base_id: str) -> None:
        """Choose the file with the lowest id, so that concurrent calls choose the same."""
        complete = [int(MediaState.READY), int(MediaState.SCANNING)]
        users = {"base": encode_id(base_id), "state": {"$in": complete}}
        with store_errors():
            first = await self._files.find_one(users, ["bytes", "facts.size"], sort=[("_id", 1)])
            if first is None or await self._files.find_one({**users, "bytes": {"$gt": 0}}, []) is not None:
                return
            await self._files.update_one({**users, "_id": first["_id"]}, {"$set": {"bytes": first["facts"]["size"]}})

    async def delete(self, media_id: str) -> None:
        """See MediaStore."""
        with store_errors():
            await self._files.delete_one({"_id": encode_id(media_id), "state": int(MediaState.REMOVED)})

    async def _change(self, condition: Document, change: Document) -> bool:
        """Update one document; False if none meets the condition."""
        with store_errors():
            return (await self._files.update_one(condition, change)).matched_count == 1


def _ids(media_ids: Collection[str]) -> Document:
    return {"_id": {"$in": [encode_id(each) for each in media_ids]}}


def _leased(media_id: str, holder: str) -> Document:
    return {"_id": encode_id(media_id), "state": int(MediaState.UPLOADING), "lease.by": holder}


def _free_lease(now_ms: int) -> list[Document]:
    return [{"lease": None}, {"lease.until": {"$lt": now_ms}}]


def _removal(now_ms: int, failure: Failure | None = None, *, end_lease: bool = True) -> Document:
    fields = {"failure": encode_failure(failure)} if failure is not None else {}
    removed = {"state": int(MediaState.REMOVED), "removed": now_ms, "due": 0, **fields}
    return {"$set": removed, "$unset": {"mark": 1, **({"lease": 1} if end_lease else {})}}
