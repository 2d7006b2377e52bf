"""The logs of all conversations in MongoDB: one clustered collection with one document per entry.

Every command has `c`, the shard key, so that a sharded cluster sends it to one shard. A command that reads by `_id`
names that index, because other indexes begin with `c`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

from bson import Binary
from pymongo import UpdateMany, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern

from chat_service.model.authorization import TargetMessage
from chat_service.model.conversation import Interval
from chat_service.model.entry import (
    EMPTY_LOG_HEAD,
    LAST_SEQ,
    Entry,
    EntryHeader,
    Head,
    MessageDeleted,
    MessageEdited,
    ReactionChanged,
)
from chat_service.model.stores import Conflict, LogPage
from chat_service.storage.documents import (
    EDITED,
    MESSAGE,
    ContentFields,
    ExtractMedia,
    ExtractWords,
    coalesce_ranges,
    decode_entry,
    encode_entry,
    encode_id,
    entry_id,
    entry_range,
    one_entry,
    seq_of,
)
from servicekit.batch_loader import BatchLoader
from servicekit.errors import StoreUnavailable
from servicekit.mongo import Database, Document, ensure_clustered, index_builds, store_errors
from servicekit.tasks import gather_limited

ENTRIES: Final = "entries"
BY_ID: Final = {"_id": 1}
DUPLICATE_KEY: Final = 11000
# The entries that an owner applies when it loads a conversation, and the edits of a message.
STATE_CHANGES_INDEX: Final = [("c", 1), ("x", 1), ("_id", 1)]
EDITS_INDEX: Final = [("c", 1), ("g", 1)]
PAGE_BYTES: Final = 1024 * 1024
MAX_CONCURRENT_READS: Final = 16
MAX_CONCURRENT_RANGES: Final = 8
# Conversation, first seq, limit, last seq.
RangeKey = tuple[str, int, int, int]


class MongoLog:
    """Implements ConversationLog; every method raises StoreUnavailable.

    `extract_words` returns the words of a content for the word index, and `extract_media` the media that it refers to
    for the media index; without it no words, or no media, are stored.
    """

    def __init__(
        self, database: Database, extract_words: ExtractWords | None = None, extract_media: ExtractMedia | None = None
    ) -> None:
        self._entries: AsyncCollection[Document] = database[ENTRIES]
        self._database = database
        self._fields = ContentFields(extract_words, extract_media)
        self._pages = BatchLoader(self._load_pages, max_concurrent=MAX_CONCURRENT_READS, max_keys=1)
        self._events = BatchLoader(self._load_events)
        self._heads = BatchLoader(self._load_heads)

    async def ensure_indexes(self) -> None:
        """Create the collection and its indexes unless they exist."""
        with index_builds():
            await ensure_clustered(self._database, ENTRIES)
            await self._entries.create_index([("c", 1), ("k", 1)], unique=True)
            await self._entries.create_index(STATE_CHANGES_INDEX, partialFilterExpression={"x": {"$exists": True}})
            await self._entries.create_index(EDITS_INDEX, partialFilterExpression={"y": EDITED})

    async def append_batch(self, entries: Sequence[Entry]) -> Conflict | None:
        """Insert in order; on a duplicate key, continue after the entries that this writer has inserted before."""
        documents, start = [encode_entry(entry, self._fields) for entry in entries], 0
        while start < len(documents):
            try:
                with store_errors():
                    await self._entries.insert_many(documents[start:], ordered=True)
                return None
            except BulkWriteError as error:
                index = start + _index_of_duplicate(error)
                written = await self._count_written(documents[index:])
                if not written:
                    return Conflict(index)
                start = index + written
        return None

    async def read_head(self, conversation_id: str) -> Head:
        """Return the head by one read of the last `_id`."""
        with store_errors():
            async for document in self._range(conversation_id, 0, LAST_SEQ, -1).limit(1):
                return Head(seq_of(document), document["n"], document["t"])
        return EMPTY_LOG_HEAD

    async def read_heads(self, conversation_ids: Collection[str]) -> dict[str, EntryHeader]:
        """Read through a batch loader: one query for all conversations of all concurrent readers."""
        return await self._heads.get(conversation_ids)

    async def _load_heads(self, conversation_ids: Collection[str]) -> dict[str, EntryHeader]:
        with store_errors():
            found = await self._entries.aggregate(heads_pipeline(list(conversation_ids)))
            return {each["_id"][:16].hex(): _decode_header(each) async for each in found}

    async def read_tail(self, conversation_id: str, length: int) -> list[EntryHeader]:
        """Return the headers by one read of the last `_id`s."""
        with store_errors():
            newest = self._range(conversation_id, 0, LAST_SEQ, -1, fields={"n": 1, "t": 1, "k": 1, "y": 1})
            documents = await newest.limit(length).to_list()
        return [_decode_header(document) for document in reversed(documents)]

    async def count_messages(self, conversation_id: str, seq: int) -> int:
        """Return the count from the entry at or before `seq`, or from the next one if those are removed."""
        with store_errors():
            async for document in self._range(conversation_id, 0, seq, -1).limit(1):
                return int(document["n"])
            async for document in self._range(conversation_id, seq + 1, LAST_SEQ, 1).limit(1):
                return int(document["n"]) - int(document["y"] == MESSAGE)
        return 0

    async def read_page(self, conversation_id: str, first: int, limit: int, last: int = LAST_SEQ) -> LogPage:
        """Return a page of at most about PAGE_BYTES of content; concurrent reads of the same page share one query."""
        key = conversation_id, first, limit, last
        return (await self._pages.get([key]))[key]

    async def _load_pages(self, keys: Collection[RangeKey]) -> dict[RangeKey, LogPage]:
        return {key: await self._load_page(*key) for key in keys}

    async def _load_page(self, conversation_id: str, first: int, limit: int, last: int) -> LogPage:
        entries, size = list[Entry](), 0
        with store_errors():
            async for document in self._range(conversation_id, first, last, 1).limit(limit + 1):
                if len(entries) == limit or size > PAGE_BYTES:
                    return LogPage(entries, reaches_head=False)
                entries.append(decode_entry(document))
                size += len(document.get("b", b""))
        return LogPage(entries, reaches_head=True)

    async def read_messages(
        self, conversation_id: str, within: Interval, limit: int, *, newest_first: bool, without: Collection[int] = ()
    ) -> list[Entry]:
        """Return deleted messages too, but no messages whose content retention has removed."""
        condition: Document = {"y": MESSAGE, "$or": [{"b": {"$exists": True}}, {"d": {"$exists": True}}]}
        if without:
            condition["$nor"] = [{"_id": entry_id(conversation_id, seq)} for seq in without]
        direction = -1 if newest_first else 1
        with store_errors():
            cursor = self._range(conversation_id, within.first, within.last, direction, condition)
            return [decode_entry(document) async for document in cursor.limit(limit)]

    async def read_mutations(
        self, conversation_id: str, within: Interval, targets: Sequence[Interval], limit: int
    ) -> LogPage:
        """Read the entries with `x` 1, without `b`: the contents of 500 edits would exceed the size of a page."""
        condition: Document = {
            **entry_range(conversation_id, within.first, within.last),
            "x": 1,
            "$or": [{"g": {"$gte": each.first, "$lte": each.last}} for each in targets],
        }
        with store_errors():
            found = self._entries.find(condition, {"b": 0})
            cursor = found.sort("_id", 1).hint(STATE_CHANGES_INDEX).limit(limit + 1)
            entries = [decode_entry(document) async for document in cursor]
        return LogPage(entries[:limit], reaches_head=len(entries) <= limit)

    async def state_changes_after(self, conversation_id: str, after_seq: int) -> list[Entry]:
        """Read the entries with `x` 1 or 2."""
        return await self._find_state_changes(
            conversation_id, {"$in": [1, 2]}, {"$gt": entry_id(conversation_id, after_seq)}
        )

    async def conversation_events(self, conversation_id: str, last: int = LAST_SEQ) -> list[Entry]:
        """Read the entries with `x` 2."""
        return await self._find_state_changes(conversation_id, 2, {"$lte": entry_id(conversation_id, last)})

    async def conversation_events_after(self, seqs: Mapping[str, int]) -> dict[str, list[Entry]]:
        """Read through a batch loader: one query for all conversations of all concurrent readers."""
        events = await self._events.get(seqs.items())
        return {conversation_id: entries for (conversation_id, _), entries in events.items()}

    async def _load_events(self, positions: Collection[tuple[str, int]]) -> dict[tuple[str, int], list[Entry]]:
        conditions = [{"c": encode_id(each), "x": 2, "_id": {"$gt": entry_id(each, seq)}} for each, seq in positions]
        with store_errors():
            entries = [decode_entry(each) async for each in self._entries.find({"$or": conditions})]
        logs: dict[str, list[Entry]] = {}
        for entry in sorted(entries, key=lambda entry: entry.seq):
            logs.setdefault(entry.conversation_id, []).append(entry)
        events = {(name, seq): [entry for entry in logs.get(name, ()) if entry.seq > seq] for name, seq in positions}
        return {position: entries for position, entries in events.items() if entries}

    async def _find_state_changes(self, conversation_id: str, marker: object, ids: Document) -> list[Entry]:
        condition = {"c": encode_id(conversation_id), "x": marker, "_id": ids}
        with store_errors():
            entries = [decode_entry(document) async for document in self._entries.find(condition)]
        return sorted(entries, key=lambda entry: entry.seq)

    async def load_targets(
        self, conversation_id: str, seqs: Collection[int], *, contents: bool = False
    ) -> dict[int, TargetMessage]:
        """Read ranges that cover the seqs: MongoDB scans a clustered collection for single ids."""
        fields, targets = {"k": 1, "d": 1, "r": 1} | ({"b": 1} if contents else {}), frozenset(seqs)

        async def read(interval: Interval) -> list[Document]:
            cursor = self._range(conversation_id, interval.first, interval.last, 1, {"y": MESSAGE}, fields)
            documents: list[Document] = await cursor.to_list()
            return documents

        with store_errors():
            ranges = await gather_limited(read, coalesce_ranges(targets), limit=MAX_CONCURRENT_RANGES)
        by_seq = {seq_of(each): each for documents in ranges for each in documents}
        return {seq: _decode_target(by_seq[seq]) for seq in targets & by_seq.keys()}

    async def apply_mutations(self, entries: Sequence[Entry]) -> None:
        """Update the message documents in order; each update is conditional on the seq of the last one."""
        updates = [update for entry in entries for update in _mutation_updates(entry, self._fields)]
        if not updates:
            return
        with store_errors():
            await self._entries.bulk_write(updates, ordered=True)

    async def find_by_keys(self, conversation_id: str, keys: Collection[bytes]) -> list[Entry]:
        """Read from the unique index on `c` and `k`."""
        condition = {"c": encode_id(conversation_id), "k": {"$in": [Binary(key) for key in keys]}}
        with store_errors():
            return [decode_entry(document) async for document in self._entries.find(condition)]

    def _range(
        self,
        conversation_id: str,
        first: int,
        last: int,
        direction: int,
        condition: Document | None = None,
        fields: Document | None = None,
    ) -> Any:
        wanted = {**entry_range(conversation_id, first, last), **(condition or {})}
        return self._entries.find(wanted, fields).sort("_id", direction).hint(BY_ID)

    async def _count_written(self, documents: Sequence[Document]) -> int:
        """Return how many of the first documents this writer has inserted before, once a majority has them."""
        sends = [{"c": document["c"], "k": document["k"]} for document in documents]
        with store_errors():
            primary = self._entries.with_options(read_concern=ReadConcern("local"))
            stored = {each["_id"]: each async for each in primary.find({"$or": sends}, {"k": 1, "h": 1, "t": 1})}
            written = list(takewhile(lambda each: _is_same_write(each, stored.get(bytes(each["_id"]))), documents))
            if written:
                # A majority write that changes nothing waits until a majority has all writes before it.
                last = {name: written[-1][name] for name in ("c", "_id", "k", "h", "t")}
                result = await self._entries.update_one(last, {"$set": {"h": last["h"]}}, hint=BY_ID)
                if not result.matched_count:
                    raise StoreUnavailable("an entry was rolled back")
        return len(written)


def heads_pipeline(conversation_ids: Sequence[str]) -> list[Document]:
    """Return the pipeline that yields the last entry of each of these logs, by one read of the last `_id` of each."""
    pipelines: list[list[Document]] = [
        [
            {"$match": entry_range(each, 0, LAST_SEQ)},
            {"$sort": {"_id": -1}},
            {"$limit": 1},
            {"$project": {"n": 1, "t": 1, "k": 1, "y": 1}},
        ]
        for each in conversation_ids
    ]
    unions = [{"$unionWith": {"coll": ENTRIES, "pipeline": each}} for each in pipelines[1:]]
    return [*pipelines[0], *unions]


def _decode_header(document: Document) -> EntryHeader:
    head = Head(seq_of(document), document["n"], document["t"])
    return EntryHeader(head, document["k"][:16].hex(), document["y"] == MESSAGE)


def _decode_target(document: Document) -> TargetMessage:
    reactions = {user: each["e"] for user, each in document.get("r", {}).items()}
    content = bytes(document["b"]) if "b" in document else None
    return TargetMessage(document["k"][:16].hex(), "d" in document, content, reactions)


def _index_of_duplicate(error: BulkWriteError) -> int:
    """Return the index of the document refused as a duplicate. Raises StoreUnavailable if the error is another."""
    details: Any = error.details
    write_errors = details.get("writeErrors") or []
    if not write_errors or write_errors[0]["code"] != DUPLICATE_KEY:
        raise StoreUnavailable("the outcome of a write is unknown") from error
    return int(write_errors[0]["index"])


def _is_same_write(document: Document, stored: Document | None) -> bool:
    """Return True if this writer wrote `stored`; another owner may have given the send the same seq at another time."""
    # The driver returns bytes for a Binary, and the two never compare equal.
    return stored is not None and (stored["t"], stored["k"], stored["h"]) == (
        document["t"],
        bytes(document["k"]),
        bytes(document["h"]),
    )


def _mutation_updates(entry: Entry, fields: ContentFields) -> list[UpdateOne | UpdateMany]:
    """Return the updates of an entry's target. They are idempotent and never undo those of a later entry."""
    change, seq = entry.change, entry.seq
    if isinstance(change, MessageEdited):
        # An edit without content has been replaced by a later one.
        return (
            [*_edit(entry, change, fields), *_remove_earlier_edits(entry, change.target_seq)] if change.content else []
        )
    if isinstance(change, MessageDeleted):
        deletion = {"$set": {"d": seq}, "$unset": {"b": "", "f": "", "w": "", "r": ""}}
        return [
            UpdateOne(_undeleted_target(entry, change.target_seq), deletion, hint=BY_ID),
            *_remove_earlier_edits(entry, change.target_seq),
        ]
    if isinstance(change, ReactionChanged):
        field = f"r.{entry.actor_id}"
        older = {"b": {"$exists": True}, f"{field}.s": {"$not": {"$gte": seq}}}
        reaction = {"$set": {field: {"e": change.emoji, "s": seq}}}
        return [UpdateOne({**_undeleted_target(entry, change.target_seq), **older}, reaction, hint=BY_ID)]
    return []


def _undeleted_target(entry: Entry, seq: int) -> Document:
    return {**one_entry(entry.conversation_id, seq), "d": {"$exists": False}}


def _edit(entry: Entry, change: MessageEdited, fields: ContentFields) -> list[UpdateOne | UpdateMany]:
    # An edit does not restore content that retention has removed.
    older = {"b": {"$exists": True}, "e": {"$not": {"$gte": entry.seq}}}
    derived = fields.encode(change.content)
    update: Document = {"$set": {"b": Binary(change.content), "e": entry.seq, **derived}}
    if removed := {"f", "w"} - derived.keys():
        update["$unset"] = dict.fromkeys(removed, "")
    return [UpdateOne({**_undeleted_target(entry, change.target_seq), **older}, update, hint=BY_ID)]


def _remove_earlier_edits(entry: Entry, target_seq: int) -> list[UpdateOne | UpdateMany]:
    """Remove the content of earlier edits of the message, so that it cannot be read from the log."""
    earlier = {"$lt": entry_id(entry.conversation_id, entry.seq)}
    edits = {"c": encode_id(entry.conversation_id), "g": target_seq, "y": EDITED, "_id": earlier}
    return [UpdateMany(edits, {"$unset": {"b": "", "f": ""}})]
