"""A check that no query of a chat server scans a whole collection, based on MongoDB's profiler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pymongo import MongoClient

DATABASE: Final = "parley"
# What a chat server calls itself; tests may read whole collections.
ASKED_BY: Final = "parley-chat"
# Here a whole collection is read on purpose.
SCRATCH: Final = "read_as_a_whole"
SHOWN: Final = 5

Client = MongoClient[dict[str, Any]]


@contextmanager
def no_scans(mongo_uri: str) -> Iterator[None]:
    """Fail in the end if chat servers, which run until then, have had MongoDB read a whole collection meanwhile."""
    with Client(mongo_uri) as client:
        database = client[DATABASE]
        database.command("profile", 1, filter={"planSummary": {"$regex": "COLLSCAN"}, "appName": ASKED_BY})
        yield
        assert _connected(client), f"nobody calls itself {ASKED_BY}, so nobody was watched"
        _scan(mongo_uri)
        # A change stream goes along the oplog.
        scans = list(database["system.profile"].find({"originatingCommand.pipeline.$changeStream": {"$exists": False}}))
    ours = [each for each in scans if each["ns"] == f"{DATABASE}.{SCRATCH}"]
    theirs = [each for each in scans if each not in ours]
    assert ours, "MongoDB does not tell who reads a whole collection"
    assert not theirs, f"{len(theirs)} questions read whole collections: {[_told(each) for each in theirs[:SHOWN]]}"


def _connected(client: Client) -> bool:
    """Whether somebody with the name of a chat server is connected."""
    everybody = {"$currentOp": {"allUsers": True, "idleConnections": True}}
    with client.admin.aggregate([everybody, {"$match": {"appName": ASKED_BY}}]) as found:
        return any(found)


def _scan(mongo_uri: str) -> None:
    """Have a whole collection read, as a chat server would."""
    with Client(mongo_uri, appname=ASKED_BY) as client:
        scratch = client[DATABASE][SCRATCH]
        scratch.insert_one({})
        assert scratch.find_one({"no": "index"}) is None
        scratch.drop()


def _told(scan: dict[str, Any]) -> str:
    command = scan["command"]
    return f"{scan['op']} of {scan['ns']} by {command.get('filter') or command.get('q') or command}"
