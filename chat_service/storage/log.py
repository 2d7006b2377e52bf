"""The logs of all conversations in MongoDB: one clustered collection, one document an entry.

`_id` is the 16 bytes of the conversation and the big-endian seq, so a log is one sequential range and two
writers cannot fork it. `c` conversation, `k` key of the append (unique with `c`), `h` fingerprint of what was
asked, `n` number of messages so far, `t` milliseconds since 1970, `y` kind (the number of its field in the
contract's Entry), then the change itself; `x` marks entries that change the conversation, for an owner's replay.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import takewhile
from typing import Any, Final

from bson import Binary
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern

from chat_service.errors import StoreUnavailable
from chat_service.history.ports import Page
from chat_service.model.entry import (
    EMPTY,
    LAST_SEQ,
    ConversationUpdated,
    Entry,
    Head,
    MembershipChanged,
    MembershipKind,
    Message,
    Role,
)
from chat_service.owner.ports import Conflict
from chat_service.storage.mongo import Database, Document, ensure_clustered, store_errors

COLLECTION: Final = "entries"
BY_ID: Final = {"_id": 1}
MESSAGE, MEMBERSHIP, UPDATED = 10, 14, 15
DUPLICATE_KEY: Final = 11000
PAGE_BYTES: Final = 1024 * 1024


class MongoLog:
    """Implements the owner's Log and the history's; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._entries: AsyncCollection[Document] = database[COLLECTION]
        self._database = database

    async def ensure_indexes(self) -> None:
        """Make the collection and its indexes where they are not there yet."""
        with store_errors(deadline=60.0):
            await ensure_clustered(self._database, COLLECTION)
            await self._entries.create_index([("c", 1), ("k", 1)], unique=True)
            await self._entries.create_index([("c", 1), ("x", 1)], partialFilterExpression={"x": {"$exists": True}})

    async def append(self, entries: Sequence[Entry]) -> Conflict | None:
        """Append in order; None when all are durable. An entry that is there already counts as appended."""
        documents, start = [_document(entry) for entry in entries], 0
        while start < len(documents):
            try:
                with store_errors():
                    await self._entries.insert_many(documents[start:], ordered=True)
                return None
            except BulkWriteError as error:
                at = start + _refused(error)
                there = await self._already_there(documents[at:])
                if not there:
                    return Conflict(at)
                start = at + there
        return None

    async def head(self, conversation_id: str) -> Head:
        """Where the log ends, as a majority knows it."""
        with store_errors():
            async for document in self._range(conversation_id, 0, LAST_SEQ, -1).limit(1):
                return Head(_seq(document), document["n"], document["t"])
        return EMPTY

    async def message_number(self, conversation_id: str, seq: int) -> int:
        """How many messages there are up to `seq`; 0 before the first entry."""
        with store_errors():
            async for document in self._range(conversation_id, 0, seq, -1).limit(1):
                return int(document["n"])
        return 0

    async def read(self, conversation_id: str, first: int, limit: int) -> Page:
        """The entries from seq `first`, in order, at most `limit` and about PAGE_BYTES of content."""
        entries, size = list[Entry](), 0
        with store_errors():
            async for document in self._range(conversation_id, first, LAST_SEQ, 1).limit(limit + 1):
                if len(entries) == limit or size > PAGE_BYTES:
                    return Page(entries, ended=False)
                entries.append(_entry(document))
                size += len(document.get("b", b""))
        return Page(entries, ended=True)

    async def messages(
        self, conversation_id: str, first: int, last: int, limit: int, newest_first: bool
    ) -> list[Entry]:
        """The messages from seq `first` to `last`, at most `limit`."""
        with store_errors():
            found = self._range(conversation_id, first, last, -1 if newest_first else 1, {"y": MESSAGE})
            return [_entry(document) async for document in found.limit(limit)]

    async def changes(self, conversation_id: str, after_seq: int) -> list[Entry]:
        """The entries after `after_seq` that change the conversation itself, in order."""
        condition = {
            "c": _bytes(conversation_id),
            "x": 1,
            "_id": {"$gt": entry_id(conversation_id, after_seq)},
        }
        with store_errors():
            found = [_entry(document) async for document in self._entries.find(condition)]
        return sorted(found, key=lambda entry: entry.seq)

    async def appended(self, conversation_id: str, keys: Collection[bytes]) -> list[Entry]:
        """The entries that have one of these keys."""
        condition = {"c": _bytes(conversation_id), "k": {"$in": [Binary(key) for key in keys]}}
        with store_errors():
            return [_entry(document) async for document in self._entries.find(condition)]

    def _range(self, conversation_id: str, first: int, last: int, direction: int, also: Document | None = None) -> Any:
        span = {"$gte": entry_id(conversation_id, first), "$lte": entry_id(conversation_id, last)}
        return self._entries.find({"_id": span, **(also or {})}).sort("_id", direction).hint(BY_ID)

    async def _already_there(self, documents: Sequence[Document]) -> int:
        """How many of the first documents are there as they are; then it is made sure that a majority has them."""
        ids = [document["_id"] for document in documents]
        with store_errors():
            primary = self._entries.with_options(read_concern=ReadConcern("local"))
            found = {each["_id"]: each async for each in primary.find({"_id": {"$in": ids}}, {"k": 1, "h": 1})}
            same = list(takewhile(lambda each: _same(each, found.get(bytes(each["_id"]))), documents))
            if same:
                # A write that changes nothing waits for the majority to have all that came before it.
                last = {name: same[-1][name] for name in ("_id", "k", "h")}
                answer = await self._entries.update_one(last, {"$set": {"h": last["h"]}})
                if not answer.matched_count:
                    raise StoreUnavailable("what was there a moment ago was rolled back")
        return len(same)


def entry_id(conversation_id: str, seq: int) -> Binary:
    """The `_id` of an entry: 24 bytes that sort by conversation, then by seq."""
    return Binary(bytes.fromhex(conversation_id) + seq.to_bytes(8, "big"))


def _refused(error: BulkWriteError) -> int:
    """Which document was refused as a duplicate. Raises StoreUnavailable when that is not what happened."""
    details: Any = error.details
    refusals = details.get("writeErrors") or []
    if not refusals or refusals[0]["code"] != DUPLICATE_KEY:
        raise StoreUnavailable("the database could not make sure of a write") from error
    return int(refusals[0]["index"])


def _same(document: Document, found: Document | None) -> bool:
    # The driver gives plain bytes back for a Binary, and the two are never equal.
    return found is not None and all(found[name] == bytes(document[name]) for name in ("k", "h"))


def _document(entry: Entry) -> Document:
    document: Document = {
        "_id": entry_id(entry.conversation_id, entry.seq),
        "c": _bytes(entry.conversation_id),
        "k": Binary(entry.key),
        "h": Binary(entry.fingerprint),
        "n": entry.message_number,
        "t": entry.time_ms,
    }
    change = entry.change
    if isinstance(change, Message):
        document |= {"y": MESSAGE, "b": Binary(change.content)}
    elif isinstance(change, MembershipChanged):
        members = [[_bytes(user), int(role)] for user, role in change.members]
        document |= {"y": MEMBERSHIP, "x": 1, "m": int(change.kind), "u": members}
    else:
        document |= {"y": UPDATED, "x": 1, "title": change.title}
    return document


def _entry(document: Document) -> Entry:
    key = bytes(document["k"])
    return Entry(
        conversation_id=document["c"].hex(),
        seq=_seq(document),
        message_number=document["n"],
        time_ms=document["t"],
        actor_id=key[:16].hex(),
        request_id=key[16:],
        change=_change(document),
        fingerprint=bytes(document["h"]),
    )


def _change(document: Document) -> Message | MembershipChanged | ConversationUpdated:
    if document["y"] == MESSAGE:
        return Message(bytes(document["b"]))
    if document["y"] == MEMBERSHIP:
        members = tuple((user.hex(), Role(role)) for user, role in document["u"])
        return MembershipChanged(MembershipKind(document["m"]), members)
    return ConversationUpdated(document["title"])


def _seq(document: Document) -> int:
    return int.from_bytes(document["_id"][16:], "big")


def _bytes(identifier: str) -> Binary:
    return Binary(bytes.fromhex(identifier))
