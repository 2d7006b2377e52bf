"""Retention in MongoDB: due conversations, and the removal of content and stubs.

It keeps these fields in the document of a conversation. `first` is the lowest seq whose content is kept; content is
removed up to `gone`. `expired` is the lowest seq whose content has not reached its age, and `expired_number` the number
of messages below it. `due` is the time of the next sweep, in
milliseconds since 1970: 0 after any entry but a message, because the retention may have changed; absent for never.
`under` is the default of the deployment under which `due` was computed, if the conversation has no own retention.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import takewhile
from typing import Any, Final

from pymongo import ReturnDocument, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from chat_service.model.entry import LAST_SEQ
from chat_service.model.retention import Retention
from chat_service.retention.ports import (
    ClaimedConversation,
    DueConversation,
    EntryPosition,
    PictureChange,
    RemovedStubs,
)
from chat_service.storage.conversations import CONVERSATIONS, decode_conversation
from chat_service.storage.device_marks import MongoDeviceMarks
from chat_service.storage.documents import EDITED, MESSAGE, encode_id, entry_id, entry_range, one_entry, seq_of
from chat_service.storage.log import BY_ID, EDITS_INDEX, ENTRIES, STATE_CHANGES_INDEX
from servicekit.mongo import Database, Document, index_builds, store_errors

IDS_PER_BATCH: Final = 1000
PICTURES_INDEX: Final = "pictures"


class MongoRetentionStore:
    """Implements RetentionStore; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._entries: AsyncCollection[Document] = database[ENTRIES]
        self._conversations: AsyncCollection[Document] = database[CONVERSATIONS]
        self._marks = MongoDeviceMarks(database)

    async def ensure_indexes(self) -> None:
        """Create the indexes on `due`, on `under` and on changes of pictures unless they exist."""
        with index_builds():
            for field in ("due", "under"):
                await self._conversations.create_index(
                    [(field, 1), ("_id", 1)], partialFilterExpression={field: {"$exists": True}}
                )
            await self._entries.create_index(
                [("c", 1), ("_id", 1)], name=PICTURES_INDEX, partialFilterExpression={"picture": {"$exists": True}}
            )

    async def list_due(
        self, now_ms: int, default: Retention, owns: Callable[[str], bool], limit: int
    ) -> list[DueConversation]:
        """Read the index on `due`; only if nothing is due, the one on `under`."""
        due = await self._find_owned("due", {"$lte": now_ms}, owns, limit)
        other_default = {"$gt": "", "$ne": _encode_default(default)}
        return due or await self._find_owned("under", other_default, owns, limit)

    async def _find_owned(
        self, field: str, condition: Document, owns: Callable[[str], bool], limit: int
    ) -> list[DueConversation]:
        due = list[DueConversation]()
        with store_errors():
            cursor = self._conversations.find({field: condition}, {"due": 1}, batch_size=IDS_PER_BATCH)
            async for document in cursor.sort([(field, 1), ("_id", 1)]):
                if owns(conversation_id := document["_id"].hex()):
                    due.append(DueConversation(conversation_id, document.get("due")))
                if len(due) == limit:
                    break
        return due

    async def claim(self, due: DueConversation, until_ms: int) -> ClaimedConversation | None:
        """Set `due` to the end of the claim if it has not changed since it was listed."""
        condition = {"_id": encode_id(due.conversation_id), "due": due.due_ms}
        with store_errors():
            document = await self._conversations.find_one_and_update(
                condition, {"$set": {"due": until_ms}}, return_document=ReturnDocument.AFTER
            )
        return (
            ClaimedConversation(decode_conversation(document), until_ms, document.get("gone", 0)) if document else None
        )

    async def release(self, claimed: ClaimedConversation, due_ms: int | None, default: Retention | None) -> None:
        """Set or unset `due` and `under` if `due` still is the end of the claim."""
        fields = {"due": due_ms, "under": _encode_default(default) if default else None}
        update = {
            "$set": {name: value for name, value in fields.items() if value is not None},
            "$unset": {name: "" for name, value in fields.items() if value is None},
        }
        condition = {"_id": encode_id(claimed.conversation.conversation_id), "due": claimed.until_ms}
        with store_errors():
            await self._conversations.update_one(
                condition, {operator: each for operator, each in update.items() if each}
            )

    async def list_positions(self, conversation_id: str, first: int, limit: int) -> list[EntryPosition]:
        """See RetentionStore."""
        with store_errors():
            cursor = self._range(conversation_id, first, LAST_SEQ).limit(limit)
            return [EntryPosition(seq_of(each), each["n"], each["t"]) async for each in cursor]

    async def first_unapplied_seq(self, conversation_id: str, applied_seq: int) -> int | None:
        """Return the lowest seq after `applied_seq` of an entry with `x`."""
        later = {"$gt": entry_id(conversation_id, applied_seq)}
        condition = {"c": encode_id(conversation_id), "x": {"$in": [1, 2]}, "_id": later}
        with store_errors():
            cursor = self._entries.find(condition, {"_id": 1}).sort("_id", 1).hint(STATE_CHANGES_INDEX).limit(1)
            seqs = [seq_of(each) async for each in cursor]
        return seqs[0] if seqs else None

    async def raise_first_seq(self, conversation_id: str, last: EntryPosition, *, expired: bool) -> None:
        """Raise `first`, and if `expired` the two fields of expired content, in one pipeline update."""
        seq, number = (last.seq + 1, last.message_number) if expired else (1, 0)
        # A document of an earlier version has only `first` and `first_number`: all content below it has expired.
        raised = {
            "first": {"$max": ["$first", last.seq + 1]},
            "expired": {"$max": [{"$ifNull": ["$expired", "$first"]}, seq]},
            "expired_number": {"$max": [{"$ifNull": ["$expired_number", "$first_number"]}, number]},
        }
        with store_errors():
            await self._conversations.update_one({"_id": encode_id(conversation_id)}, [{"$set": raised}])

    async def remove_content(self, conversation_id: str, first: int, last: int) -> None:
        """Unset the content fields of the entries and of their edits, then raise `gone`."""
        contents = {**entry_range(conversation_id, first, last), "y": {"$in": [MESSAGE, EDITED]}}
        # Edits of the removed messages, with seqs above `last`.
        edits = {
            "c": encode_id(conversation_id),
            "g": {"$gte": first, "$lte": last},
            "y": EDITED,
            "b": {"$exists": True},
        }
        with store_errors():
            await self._entries.update_many(
                contents, {"$unset": {"b": "", "f": "", "w": "", "o": "", "r": ""}}, hint=BY_ID
            )
            await self._entries.update_many(edits, {"$unset": {"b": "", "f": ""}}, hint=EDITS_INDEX)
            await self._conversations.update_one({"_id": encode_id(conversation_id)}, {"$max": {"gone": last}})

    async def remove_stubs(self, conversation_id: str, below_seq: int, before_ms: int, limit: int) -> RemovedStubs:
        """Delete one range of `_id`. See RetentionStore."""
        with store_errors():
            lowest = await self._range(conversation_id, 0, LAST_SEQ).limit(limit + 2).to_list()
            # The highest entry of the log, if it is among these, stays, so that no seq is assigned twice.
            stubs = [each for each in lowest[:-1] if seq_of(each) < below_seq]
            expired = list(takewhile(lambda each: each["t"] <= before_ms, stubs[:limit]))
            if expired:
                await self._entries.delete_many(entry_range(conversation_id, 0, seq_of(expired[-1])), hint=BY_ID)
        kept = stubs[len(expired) :]
        return RemovedStubs(len(expired), kept[0]["t"] if kept else None)

    async def list_picture_changes(self, conversation_id: str, last: int) -> list[PictureChange]:
        """Read one range of the index on changes of pictures."""
        with store_errors():
            cursor = self._entries.find(picture_changes_filter(conversation_id, last), {"f": 1})
            documents = await cursor.sort("_id", 1).hint(PICTURES_INDEX).to_list()
        return [PictureChange(seq_of(each), "f" in each) for each in documents]

    async def release_pictures(self, conversation_id: str, seqs: Collection[int]) -> None:
        """Unset `f` of each entry by its `_id`: MongoDB scans a clustered collection for a list of ids."""
        updates = [UpdateOne(one_entry(conversation_id, seq), {"$unset": {"f": ""}}, hint=BY_ID) for seq in seqs]
        with store_errors():
            await self._entries.bulk_write(updates, ordered=False)

    async def load_device_marks(self, conversation_id: str) -> dict[str, int]:
        """See MongoDeviceMarks."""
        return await self._marks.load(conversation_id)

    async def remove_device_marks(self, conversation_id: str, devices: Collection[str]) -> None:
        """See MongoDeviceMarks."""
        await self._marks.remove_devices(conversation_id, devices)

    def _range(self, conversation_id: str, first: int, last: int) -> Any:
        wanted = entry_range(conversation_id, first, last)
        return self._entries.find(wanted, {"n": 1, "t": 1}).sort("_id").hint(BY_ID)


def picture_changes_filter(conversation_id: str, last: int) -> Document:
    """Return the filter for the entries up to seq `last` that set or removed the picture."""
    return {**entry_range(conversation_id, 1, last), "picture": {"$exists": True}}


def _encode_default(default: Retention) -> str:
    return f"{default.rule:d}:{default.max_age_s}"
