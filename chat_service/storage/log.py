"""The logs of all conversations in MongoDB: one clustered collection, one document an entry."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

from bson import Binary
from pymongo import UpdateMany, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern

from chat_service.errors import StoreUnavailable
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
from chat_service.storage.batch_loader import BatchLoader
from chat_service.storage.documents import (
    EDITED,
    MESSAGE,
    ExtractWords,
    coalesce_ranges,
    decode_entry,
    encode_entry,
    encode_id,
    encode_words,
    entry_id,
    seq_of,
)
from chat_service.storage.mongo import Database, Document, ensure_clustered, store_errors
from servicekit.tasks import gather_limited

ENTRIES: Final = "entries"
BY_ID: Final = {"_id": 1}
DUPLICATE_KEY: Final = 11000
# What an owner that loads a conversation applies; the edits of a message.
STATE_CHANGES_INDEX: Final = [("c", 1), ("x", 1), ("_id", 1)]
EDITS_INDEX: Final = [("c", 1), ("g", 1)]
PAGE_BYTES: Final = 1024 * 1024
# Pages that are read from the store at once, for all who want any.
MAX_CONCURRENT_READS: Final = 16
# Stretches of one log that are looked through at once.
MAX_CONCURRENT_RANGES: Final = 8
# Conversation, first seq, limit, last seq.
RangeKey = tuple[str, int, int, int]


class MongoLog:
    """Implements the owner's Log and the history's; every method raises StoreUnavailable.

    `words_of` tells the words of a content, which searches look for; without it none are kept.
    """

    def __init__(self, database: Database, extract_words: ExtractWords | None = None) -> None:
        self._entries: AsyncCollection[Document] = database[ENTRIES]
        self._database = database
        self._extract_words = extract_words
        self._pages = BatchLoader(self._read_one, max_concurrent=MAX_CONCURRENT_READS, max_keys=1)
        self._turns = BatchLoader(self._read_turns)

    async def ensure_indexes(self) -> None:
        """Make the collection and its indexes where they are not there yet."""
        with store_errors(timeout_s=60.0):
            await ensure_clustered(self._database, ENTRIES)
            await self._entries.create_index([("c", 1), ("k", 1)], unique=True)
            await self._entries.create_index(STATE_CHANGES_INDEX, partialFilterExpression={"x": {"$exists": True}})
            await self._entries.create_index(EDITS_INDEX, partialFilterExpression={"y": EDITED})

    async def append_batch(self, entries: Sequence[Entry]) -> Conflict | None:
        """Append in order; None when all are durable. An entry that is there already counts as appended."""
        documents, start = [encode_entry(entry, self._extract_words) for entry in entries], 0
        while start < len(documents):
            try:
                with store_errors():
                    await self._entries.insert_many(documents[start:], ordered=True)
                return None
            except BulkWriteError as error:
                at = start + _index_of_duplicate(error)
                there = await self._already_there(documents[at:])
                if not there:
                    return Conflict(at)
                start = at + there
        return None

    async def read_head(self, conversation_id: str) -> Head:
        """Where the log ends, as a majority knows it."""
        with store_errors():
            async for document in self._range(conversation_id, 0, LAST_SEQ, -1).limit(1):
                return Head(seq_of(document), document["n"], document["t"])
        return EMPTY_LOG_HEAD

    async def read_tail(self, conversation_id: str, length: int) -> list[EntryHeader]:
        """The last entries of the log, as a majority knows it, oldest first; at most `length`."""
        with store_errors():
            newest = self._range(conversation_id, 0, LAST_SEQ, -1, fields={"n": 1, "t": 1, "k": 1, "y": 1})
            found = await newest.limit(length).to_list()
        return [_read_header(document) for document in reversed(found)]

    async def count_messages(self, conversation_id: str, seq: int) -> int:
        """How many messages there are up to `seq`; where the entries there are removed, up to the first that is not."""
        with store_errors():
            async for document in self._range(conversation_id, 0, seq, -1).limit(1):
                return int(document["n"])
            async for document in self._range(conversation_id, seq + 1, LAST_SEQ, 1).limit(1):
                return int(document["n"]) - int(document["y"] == MESSAGE)
        return 0

    async def read_page(self, conversation_id: str, first: int, limit: int, last: int = LAST_SEQ) -> LogPage:
        """The entries from seq `first` to `last`, in order, at most `limit` and about PAGE_BYTES of content."""
        span = conversation_id, first, limit, last
        return (await self._pages.get([span]))[span]

    async def _read_one(self, spans: Collection[RangeKey]) -> dict[RangeKey, LogPage]:
        return {span: await self._read(*span) for span in spans}

    async def _read(self, conversation_id: str, first: int, limit: int, last: int) -> LogPage:
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
        """The messages of an interval, at most `limit`, those of the seqs `without` left out.

        Those that are no longer kept are none; those that were deleted are there.
        """
        condition: Document = {"y": MESSAGE, "$or": [{"b": {"$exists": True}}, {"d": {"$exists": True}}]}
        if without:
            condition["$nor"] = [{"_id": entry_id(conversation_id, seq)} for seq in without]
        direction = -1 if newest_first else 1
        with store_errors():
            found = self._range(conversation_id, within.first, within.last, direction, condition)
            return [decode_entry(document) async for document in found.limit(limit)]

    async def state_changes_after(self, conversation_id: str, after_seq: int) -> list[Entry]:
        """The entries after `after_seq` that change messages or the conversation, in order."""
        return await self._applying(conversation_id, {"$in": [1, 2]}, {"$gt": entry_id(conversation_id, after_seq)})

    async def conversation_events(self, conversation_id: str, last: int = LAST_SEQ) -> list[Entry]:
        """The entries up to seq `last` that change members, title or settings of the conversation, in order."""
        return await self._applying(conversation_id, 2, {"$lte": entry_id(conversation_id, last)})

    async def conversation_events_after(self, seqs: Mapping[str, int]) -> dict[str, list[Entry]]:
        """The same of several conversations, after a seq of each; those without any are missing."""
        found = await self._turns.get(seqs.items())
        return {conversation_id: entries for (conversation_id, _), entries in found.items()}

    async def _read_turns(self, places: Collection[tuple[str, int]]) -> dict[tuple[str, int], list[Entry]]:
        spans = [{"c": encode_id(each), "x": 2, "_id": {"$gt": entry_id(each, seq)}} for each, seq in places]
        with store_errors():
            turns = [decode_entry(each) async for each in self._entries.find({"$or": spans})]
        logs: dict[str, list[Entry]] = {}
        for entry in sorted(turns, key=lambda entry: entry.seq):
            logs.setdefault(entry.conversation_id, []).append(entry)
        found = {place: [entry for entry in logs.get(place[0], ()) if entry.seq > place[1]] for place in places}
        return {place: entries for place, entries in found.items() if entries}

    async def _applying(self, conversation_id: str, to_what: object, span: Document) -> list[Entry]:
        condition = {"c": encode_id(conversation_id), "x": to_what, "_id": span}
        with store_errors():
            found = [decode_entry(document) async for document in self._entries.find(condition)]
        return sorted(found, key=lambda entry: entry.seq)

    async def load_targets(self, conversation_id: str, seqs: Collection[int]) -> dict[int, TargetMessage]:
        """Those of `seqs` that are messages."""
        fields, wanted = {"k": 1, "d": 1}, frozenset(seqs)

        async def read(stretch: Interval) -> list[Document]:
            span = self._range(conversation_id, stretch.first, stretch.last, 1, {"y": MESSAGE}, fields)
            found: list[Document] = await span.to_list()
            return found

        with store_errors():
            spans = await gather_limited(read, coalesce_ranges(wanted), limit=MAX_CONCURRENT_RANGES)
        by_seq = {seq_of(each): each for span in spans for each in span}
        return {seq: TargetMessage(by_seq[seq]["k"][:16].hex(), "d" in by_seq[seq]) for seq in wanted & by_seq.keys()}

    async def apply_mutations(self, entries: Sequence[Entry]) -> None:
        """Let the messages that edits, deletions and reactions concern show them; again changes nothing."""
        updates = [update for entry in entries for update in _mutation_updates(entry, self._extract_words)]
        if not updates:
            return
        with store_errors():
            await self._entries.bulk_write(updates, ordered=True)

    async def find_by_keys(self, conversation_id: str, keys: Collection[bytes]) -> list[Entry]:
        """The entries that have one of these keys."""
        condition = {"c": encode_id(conversation_id), "k": {"$in": [Binary(key) for key in keys]}}
        with store_errors():
            return [decode_entry(document) async for document in self._entries.find(condition)]

    def _range(
        self,
        conversation_id: str,
        first: int,
        last: int,
        direction: int,
        also: Document | None = None,
        fields: Document | None = None,
    ) -> Any:
        span = {"$gte": entry_id(conversation_id, first), "$lte": entry_id(conversation_id, last)}
        return self._entries.find({"_id": span, **(also or {})}, fields).sort("_id", direction).hint(BY_ID)

    async def _already_there(self, documents: Sequence[Document]) -> int:
        """How many of the first documents are there as they are; then it is made sure that a majority has them."""
        sends = [{"c": document["c"], "k": document["k"]} for document in documents]
        with store_errors():
            primary = self._entries.with_options(read_concern=ReadConcern("local"))
            found = {each["_id"]: each async for each in primary.find({"$or": sends}, {"k": 1, "h": 1, "t": 1})}
            same = list(takewhile(lambda each: _is_same_write(each, found.get(bytes(each["_id"]))), documents))
            if same:
                # A write that changes nothing waits for the majority to have all that came before it.
                last = {name: same[-1][name] for name in ("_id", "k", "h", "t")}
                answer = await self._entries.update_one(last, {"$set": {"h": last["h"]}})
                if not answer.matched_count:
                    raise StoreUnavailable("what was there a moment ago was rolled back")
        return len(same)


def _read_header(document: Document) -> EntryHeader:
    head = Head(seq_of(document), document["n"], document["t"])
    return EntryHeader(head, document["k"][:16].hex(), document["y"] == MESSAGE)


def _index_of_duplicate(error: BulkWriteError) -> int:
    """Which document was refused as a duplicate. Raises StoreUnavailable when that is not what happened."""
    details: Any = error.details
    refusals = details.get("writeErrors") or []
    if not refusals or refusals[0]["code"] != DUPLICATE_KEY:
        raise StoreUnavailable("the database could not make sure of a write") from error
    return int(refusals[0]["index"])


def _is_same_write(document: Document, found: Document | None) -> bool:
    """Whether this very writer wrote it: another owner may have given the same send the same seq, at another time."""
    # The driver gives plain bytes back for a Binary, and the two are never equal.
    return found is not None and (found["t"], found["k"], found["h"]) == (
        document["t"],
        bytes(document["k"]),
        bytes(document["h"]),
    )


def _mutation_updates(entry: Entry, words_of: ExtractWords | None) -> list[UpdateOne | UpdateMany]:
    """What an entry does to its message. A later entry's doing is never undone, however often this is written."""
    change, seq = entry.change, entry.seq
    if isinstance(change, MessageEdited):
        # One without content was replaced itself before it came to this.
        return (
            [*_edit(entry, change, words_of), *_remove_earlier_edits(entry, change.target_seq)]
            if change.content
            else []
        )
    if isinstance(change, MessageDeleted):
        gone = {"$set": {"d": seq}, "$unset": {"b": "", "w": "", "r": ""}}
        return [UpdateOne(_target(entry, change.target_seq), gone), *_remove_earlier_edits(entry, change.target_seq)]
    if isinstance(change, ReactionChanged):
        place = f"r.{entry.actor_id}"
        older = {"b": {"$exists": True}, f"{place}.s": {"$not": {"$gte": seq}}}
        said = {"$set": {place: {"e": change.emoji, "s": seq}}}
        return [UpdateOne({**_target(entry, change.target_seq), **older}, said)]
    return []


def _target(entry: Entry, seq: int) -> Document:
    return {"_id": entry_id(entry.conversation_id, seq), "d": {"$exists": False}}


def _edit(entry: Entry, change: MessageEdited, words_of: ExtractWords | None) -> list[UpdateOne | UpdateMany]:
    # Content that is not kept any more does not come back.
    older = {"b": {"$exists": True}, "e": {"$not": {"$gte": entry.seq}}}
    words = encode_words(words_of(change.content)) if words_of is not None else {}
    said: Document = {"$set": {"b": Binary(change.content), "e": entry.seq, **words}}
    if not words:
        said["$unset"] = {"w": ""}
    return [UpdateOne({**_target(entry, change.target_seq), **older}, said)]


def _remove_earlier_edits(entry: Entry, target_seq: int) -> list[UpdateOne | UpdateMany]:
    """What earlier edits said is nowhere to be read any more."""
    before = {"$lt": entry_id(entry.conversation_id, entry.seq)}
    edits = {"c": encode_id(entry.conversation_id), "g": target_seq, "y": EDITED, "_id": before}
    return [UpdateMany(edits, {"$unset": {"b": ""}})]
