"""A check that no query of a chat server scans a whole collection, based on MongoDB's profiler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pymongo import MongoClient

DATABASE: Final = "parley"
# The application name of chat servers; tests may scan whole collections.
CHAT_APP_NAME: Final = "parley-chat"
# A collection that is scanned on purpose, to check that the profiler reports scans.
SCRATCH_COLLECTION: Final = "read_as_a_whole"
SHOWN: Final = 5

Client = MongoClient[dict[str, Any]]


@contextmanager
def no_scans(mongo_uri: str) -> Iterator[None]:
    """Raise AssertionError on exit if a chat server scanned a whole collection in this context."""
    with Client(mongo_uri) as client:
        database = client[DATABASE]
        database.command("profile", 1, filter={"planSummary": {"$regex": "COLLSCAN"}, "appName": CHAT_APP_NAME})
        yield
        assert _connected(client), f"no client is connected as {CHAT_APP_NAME}, so no query was profiled"
        _scan(mongo_uri)
        # A change stream reads the oplog.
        scans = list(database["system.profile"].find({"originatingCommand.pipeline.$changeStream": {"$exists": False}}))
    deliberate = [scan for scan in scans if scan["ns"] == f"{DATABASE}.{SCRATCH_COLLECTION}"]
    unexpected = [scan for scan in scans if scan not in deliberate]
    assert deliberate, "the profiler did not report the deliberate collection scan"
    assert not unexpected, (
        f"{len(unexpected)} queries scanned whole collections: {[_describe(scan) for scan in unexpected[:SHOWN]]}"
    )


def _connected(client: Client) -> bool:
    """Return True if a client with the application name of chat servers is connected."""
    everybody = {"$currentOp": {"allUsers": True, "idleConnections": True}}
    with client.admin.aggregate([everybody, {"$match": {"appName": CHAT_APP_NAME}}]) as found:
        return any(found)


def _scan(mongo_uri: str) -> None:
    """Scan the scratch collection under the application name of chat servers."""
    with Client(mongo_uri, appname=CHAT_APP_NAME) as client:
        scratch = client[DATABASE][SCRATCH_COLLECTION]
        scratch.insert_one({})
        assert scratch.find_one({"no": "index"}) is None
        scratch.drop()


def _describe(scan: dict[str, Any]) -> str:
    command = scan["command"]
    return f"{scan['op']} of {scan['ns']} by {command.get('filter') or command.get('q') or command}"
