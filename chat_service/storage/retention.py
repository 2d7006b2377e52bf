"""Retention in MongoDB: which conversations are due, and the removal of content and of whole entries.

On the document of a conversation: `first` and `first_number`, the lowest seq that is kept and the number of messages
below it; `gone`, up to which content is removed; `due`, when to look next, in milliseconds since 1970 (0 once anything
but messages was appended: it may have another retention now; absent: never); `under`, the default of the deployment
that `due` was found by, where there is no own retention.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import takewhile
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection

from chat_service.model.entry import LAST_SEQ
from chat_service.model.retention import Retention
from chat_service.retention.ports import ClaimedConversation, DueConversation, EntryPosition, RemovedStubs
from chat_service.storage.conversations import CONVERSATIONS, decode_conversation
from chat_service.storage.device_marks import MongoDeviceMarks
from chat_service.storage.documents import EDITED, MESSAGE, encode_id, entry_id, seq_of
from chat_service.storage.log import BY_ID, EDITS_INDEX, ENTRIES, STATE_CHANGES_INDEX
from chat_service.storage.mongo import Database, Document, store_errors

IDS_AT_ONCE: Final = 1000


class MongoRetentionStore:
    """Implements retention's Store; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._entries: AsyncCollection[Document] = database[ENTRIES]
        self._conversations: AsyncCollection[Document] = database[CONVERSATIONS]
        self._marks = MongoDeviceMarks(database)

    async def ensure_indexes(self) -> None:
        """Make the indexes by which what is due is found, where they are not there yet."""
        with store_errors(timeout_s=60.0):
            for field in ("due", "under"):
                await self._conversations.create_index(
                    [(field, 1), ("_id", 1)], partialFilterExpression={field: {"$exists": True}}
                )

    async def list_due(
        self, now_ms: int, default: Retention, owns: Callable[[str], bool], limit: int
    ) -> list[DueConversation]:
        """At most `limit` of my conversations whose time has come, or was set under another default."""
        found = await self._mine("due", {"$lte": now_ms}, owns, limit)
        others = {"$gt": "", "$ne": _text(default)}
        return found or await self._mine("under", others, owns, limit)

    async def _mine(
        self, field: str, condition: Document, mine: Callable[[str], bool], limit: int
    ) -> list[DueConversation]:
        found = list[DueConversation]()
        with store_errors():
            cursor = self._conversations.find({field: condition}, {"due": 1}, batch_size=IDS_AT_ONCE)
            async for document in cursor.sort([(field, 1), ("_id", 1)]):
                if mine(conversation_id := document["_id"].hex()):
                    found.append(DueConversation(conversation_id, document.get("due")))
                if len(found) == limit:
                    break
        return found

    async def claim(self, due: DueConversation, until_ms: int) -> ClaimedConversation | None:
        """Begin a look; None when something has changed the time since, for example another server."""
        condition = {"_id": encode_id(due.conversation_id), "due": due.due_ms}
        with store_errors():
            found = await self._conversations.find_one_and_update(
                condition, {"$set": {"due": until_ms}}, return_document=ReturnDocument.AFTER
            )
        return ClaimedConversation(decode_conversation(found), until_ms, found.get("gone", 0)) if found else None

    async def release(self, held: ClaimedConversation, due_ms: int | None, default: Retention | None) -> None:
        """End a look: when to look again (None: not), and the default it depends on. What came between wins."""
        said = {"due": due_ms, "under": _text(default) if default else None}
        update = {
            "$set": {name: value for name, value in said.items() if value is not None},
            "$unset": {name: "" for name, value in said.items() if value is None},
        }
        condition = {"_id": encode_id(held.conversation.conversation_id), "due": held.until_ms}
        with store_errors():
            await self._conversations.update_one(condition, {name: each for name, each in update.items() if each})

    async def list_positions(self, conversation_id: str, first: int, limit: int) -> list[EntryPosition]:
        """The entries from seq `first` on, at most `limit`."""
        with store_errors():
            found = self._range(conversation_id, first, LAST_SEQ).limit(limit)
            return [EntryPosition(seq_of(each), each["n"], each["t"]) async for each in found]

    async def first_unapplied_seq(self, conversation_id: str, applied_seq: int) -> int | None:
        """The first entry after `applied_seq` whose doing may be nowhere but in the log."""
        later = {"$gt": entry_id(conversation_id, applied_seq)}
        condition = {"c": encode_id(conversation_id), "x": {"$in": [1, 2]}, "_id": later}
        with store_errors():
            found = self._entries.find(condition, {"_id": 1}).sort("_id", 1).hint(STATE_CHANGES_INDEX).limit(1)
            seqs = [seq_of(each) async for each in found]
        return seqs[0] if seqs else None

    async def raise_first_seq(self, conversation_id: str, last: EntryPosition) -> None:
        """From now on nothing up to `last` is kept; again changes nothing."""
        raised = {"first": last.seq + 1, "first_number": last.message_number}
        with store_errors():
            await self._conversations.update_one({"_id": encode_id(conversation_id)}, {"$max": raised})

    async def remove_content(self, conversation_id: str, first: int, last: int) -> None:
        """Remove what the entries from `first` to `last` say, and what edits say about them; again changes nothing."""
        span = _span(conversation_id, first, last)
        said = {"_id": span, "y": {"$in": [MESSAGE, EDITED]}}
        # Edits of messages that go, which stand among what stays.
        edits = {
            "c": encode_id(conversation_id),
            "g": {"$gte": first, "$lte": last},
            "y": EDITED,
            "b": {"$exists": True},
        }
        with store_errors():
            await self._entries.update_many(said, {"$unset": {"b": "", "w": "", "o": "", "r": ""}}, hint=BY_ID)
            await self._entries.update_many(edits, {"$unset": {"b": ""}}, hint=EDITS_INDEX)
            await self._conversations.update_one({"_id": encode_id(conversation_id)}, {"$max": {"gone": last}})

    async def remove_stubs(self, conversation_id: str, below_seq: int, before_ms: int, limit: int) -> RemovedStubs:
        """Remove at most `limit` of the lowest entries of before a time, and never the highest."""
        with store_errors():
            lowest = await self._range(conversation_id, 0, LAST_SEQ).limit(limit + 2).to_list()
            # The highest, if it is among these, stays: so the next seq is never one that was given before.
            stubs = [each for each in lowest[:-1] if seq_of(each) < below_seq]
            over = list(takewhile(lambda each: each["t"] <= before_ms, stubs[:limit]))
            if over:
                await self._entries.delete_many({"_id": _span(conversation_id, 0, seq_of(over[-1]))}, hint=BY_ID)
        rest = stubs[len(over) :]
        return RemovedStubs(len(over), rest[0]["t"] if rest else None)

    async def load_device_marks(self, conversation_id: str) -> dict[str, int]:
        """How far each device has got, by device; one that never said anything is missing."""
        return await self._marks.load(conversation_id)

    async def remove_device_marks(self, conversation_id: str, devices: Collection[str]) -> None:
        """Forget how far devices have got."""
        await self._marks.remove_devices(conversation_id, devices)

    def _range(self, conversation_id: str, first: int, last: int) -> Any:
        return (
            self._entries.find({"_id": _span(conversation_id, first, last)}, {"n": 1, "t": 1}).sort("_id").hint(BY_ID)
        )


def _span(conversation_id: str, first: int, last: int) -> Document:
    return {"$gte": entry_id(conversation_id, first), "$lte": entry_id(conversation_id, last)}


def _text(default: Retention) -> str:
    return f"{default.rule:d}:{default.max_age_s}"
