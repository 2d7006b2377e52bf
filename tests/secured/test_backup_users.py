"""The users of MongoDB for backups can make a dump and restore it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure

from tests.mongo_dump import Document, MongoDump
from tests.secured.stores import SecuredStores

pytestmark = pytest.mark.scenario

Connect = Callable[[str], MongoClient[Document]]


@pytest.fixture
def connect(stores: SecuredStores) -> Iterator[Connect]:
    """Return a function that connects to MongoDB as a user."""
    with ExitStack() as clients:
        yield lambda user: clients.enter_context(MongoClient[Document](stores.mongo_uri(user)))


def test_dump_and_restore_work_with_the_documented_rights_alone(connect: Connect) -> None:
    database = connect("root")["parley"]
    database.command("create", "entries", clusteredIndex={"key": {"_id": 1}, "unique": True})
    database.entries.create_index([("c", 1), ("k", 1)], unique=True)
    database.meta.insert_one({"_id": "change_index", "generation": 1})
    database.entries.insert_many([{"_id": seq, "c": "a", "k": seq, "seen": 0} for seq in range(10)])
    dump = MongoDump(connect("backup"))
    dump.read_collections()
    database.entries.delete_one({"_id": 9})
    database.entries.insert_one({"_id": 10, "c": "a", "k": 9, "seen": 0})
    database.entries.update_one({"_id": 1}, {"$inc": {"seen": 1}})
    database.entries.replace_one({"_id": 2}, {"c": "a", "k": 2})
    database.blocks.insert_one({"_id": "alice", "blocked": "bob"})
    dump.finish()
    stored = contents_of(database)
    database.client.drop_database("parley")
    restorer = connect("restore")
    dump.restore(restorer)
    assert contents_of(database) == stored
    done = restorer["parley"].meta.update_one({"_id": "change_index"}, {"$inc": {"generation": 1000}})
    assert done.matched_count == 1


def contents_of(database: Database[Document]) -> dict[str, Any]:
    """Return options, indexes and documents of each collection."""
    contents = {}
    for info in database.list_collections():
        collection = database[info["name"]]
        contents[info["name"]] = info["options"], collection.index_information(), list(collection.find().sort("_id"))
    return contents


def test_user_for_backups_cannot_write_and_the_one_for_restores_cannot_read(connect: Connect) -> None:
    with pytest.raises(OperationFailure, match="not authorized"):
        connect("backup")["parley"].entries.delete_many({})
    with pytest.raises(OperationFailure, match="not authorized"):
        connect("restore")["parley"].entries.find_one()
