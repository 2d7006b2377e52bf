"""A dump of a MongoDB that is written to, and its restore, as `mongodump --oplog` and `mongorestore --oplogReplay` do.

Users and roles are not dumped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo import MongoClient
from pymongo.collection import Collection

INTERNAL: Final = ("admin", "config", "local")
RAW: Final = CodecOptions(document_class=RawBSONDocument)
# The fields of an entry of the oplog that say what was written; the rest says who wrote it, and when.
WRITE: Final = ("op", "ns", "o", "o2")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DumpedCollection:
    """A collection as it was read, while others wrote to it."""

    database: str
    name: str
    options: Document
    indexes: list[Document]
    documents: list[RawBSONDocument]


class MongoDump:
    """A dump of all databases, which holds the state at the moment of `finish`.

    The collections are read one after the other, so no two show the same moment. The oplog from before the first until
    `finish` brings all of them to the same one: to replay a write that a collection already has changes nothing.
    """

    def __init__(self, client: MongoClient[Document]) -> None:
        self.collections: list[DumpedCollection] = []
        self.oplog: list[RawBSONDocument] = []
        self._client = client
        self._entries = _raw_collection(client, "local", "oplog.rs")
        self._begin = self._read_time(-1)

    def _read_time(self, direction: int) -> Timestamp:
        """Return the time of the oldest entry of the oplog (1), or of the newest (-1)."""
        entry = self._entries.find_one(sort=[("$natural", direction)])
        assert entry is not None
        time: Timestamp = entry["ts"]
        return time

    def read_collections(self) -> None:
        """Read all collections, with their options and indexes."""
        for database in set(self._client.list_database_names()) - set(INTERNAL):
            for info in self._client[database].list_collections(filter={"type": "collection"}):
                if not info["name"].startswith("system."):
                    self.collections.append(self._read_collection(database, info["name"], info["options"]))

    def _read_collection(self, database: str, name: str, options: Document) -> DumpedCollection:
        indexes = [dict(each) for each in self._client[database][name].list_indexes()]
        # The index of `_id` comes with the collection, and a clustered collection has none.
        others = [each for each in indexes if dict(each["key"]) != {"_id": 1}]
        documents = list(_raw_collection(self._client, database, name).find())
        return DumpedCollection(database, name, options, others, documents)

    def finish(self) -> None:
        """Read what was written since the dump began."""
        end = self._read_time(-1)
        self.oplog = list(self._entries.find({"ts": {"$gte": self._begin, "$lte": end}}))
        if self._read_time(1) > self._begin:
            raise ValueError("the oplog is too small: its entries of the begin of the dump are gone")

    def restore(self, client: MongoClient[Document]) -> None:
        """Write all to a MongoDB that has none of the collections. `client` may be another one, or of another user."""
        for each in self.collections:
            client[each.database].command("create", each.name, **each.options)
            if each.documents:
                _raw_collection(client, each.database, each.name).insert_many(each.documents)
        for entry in self.oplog:
            _replay(client, entry)
        # Only now do two collections, or two documents, show the same moment, so that what is unique is so.
        for each in self.collections:
            if each.indexes:
                client[each.database].command("createIndexes", each.name, indexes=each.indexes)


def _raw_collection(client: MongoClient[Document], database: str, name: str) -> Collection[RawBSONDocument]:
    return client[database][name].with_options(codec_options=RAW)


def _replay(client: MongoClient[Document], entry: RawBSONDocument) -> None:
    """Apply an entry of the oplog: an insert, an update, a deletion, a new collection, or several of them."""
    kind, written = entry["op"], entry["o"]
    if kind == "c" and "applyOps" in written:
        if "partialTxn" in written or "prepare" in written:
            raise ValueError("an entry of the oplog is a part of a transaction")
        for each in written["applyOps"]:
            _replay(client, each)
    elif kind == "c" and "create" not in written:
        raise ValueError(f"a collection or an index changed during the dump: {list(written)}")
    elif kind != "n" and entry["ns"].partition(".")[0] not in INTERNAL:
        client.admin.command("applyOps", [{name: entry[name] for name in WRITE if name in entry}])
