"""A check of the queries of chat servers, based on MongoDB's profiler.

No query scans a whole collection, and each command on the log has its shard key. The servers of a running system are
checked, with all that the tests make them do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pymongo import MongoClient

DATABASE: Final = "parley"
# The application name of chat servers; tests may scan whole collections.
CHAT_APP_NAME: Final = "parley-chat"
LOG: Final = f"{DATABASE}.entries"
SHARD_KEY: Final = "c"
# A collection that is scanned on purpose, and an entry that is read on purpose without the shard key, to check that the
# profiler reports both.
SCRATCH_COLLECTION: Final = "read_as_a_whole"
PLANTED_ID: Final = b"read without the shard key"
SHOWN: Final = 5
# Room for the commands that are recorded to be examined here.
PROFILE_BYTES: Final = 64 * 1024 * 1024
# `MongoMediaReferences.filter_referenced` asks all conversations for files that may be removed: rarely, and for each at
# most once a day.
DELIBERATE_FIELD: Final = "f"
# Inserted documents are not recorded, and have the key: `encode_entry` sets it. The others define the collection.
WITHOUT_CONDITION: Final = ("insert", "create", "createIndexes", "listIndexes", "collMod")

SCANS: Final = {"planSummary": {"$regex": "COLLSCAN"}}
# The profiler cannot look into names with a dollar sign: all pipelines and disjunctions are recorded.
UNPROVEN: Final = {
    "ns": LOG,
    **{f"command.{place}.{SHARD_KEY}": {"$exists": False} for place in ("filter", "q", "query")},
    f"originatingCommand.filter.{SHARD_KEY}": {"$exists": False},
    **{f"command.{name}": {"$exists": False} for name in WITHOUT_CONDITION},
}

Client = MongoClient[dict[str, Any]]


@contextmanager
def no_scans(mongo_uri: str) -> Iterator[None]:
    """Raise AssertionError on exit if a chat server sent a query to all of a collection in this context.

    That is one that scanned a whole collection, or one of the log that a sharded cluster would send to every shard.
    """
    with Client(mongo_uri) as client:
        database = client[DATABASE]
        database.create_collection("system.profile", capped=True, size=PROFILE_BYTES)
        database.command("profile", 1, filter={"appName": CHAT_APP_NAME, "$or": [SCANS, UNPROVEN]})
        yield
        assert _connected(client), f"no client is connected as {CHAT_APP_NAME}, so no query was profiled"
        _plant(mongo_uri)
        profile = database["system.profile"]
        # A change stream reads the oplog.
        scans = list(profile.find({**SCANS, "originatingCommand.pipeline.$changeStream": {"$exists": False}}))
        keyless = [each for each in profile.find(UNPROVEN) if not _has_shard_key(each)]
    _check("scanned whole collections", scans, [each for each in scans if each["ns"].endswith(SCRATCH_COLLECTION)])
    planted = [each for each in keyless if PLANTED_ID in str(each["command"]).encode()]
    _check("of the log have no shard key", keyless, planted)


def _check(fault: str, found: list[dict[str, Any]], deliberate: list[dict[str, Any]]) -> None:
    unexpected = [each for each in found if each not in deliberate]
    assert deliberate, f"the profiler did not report the deliberate query, so it would report none that {fault}"
    assert not unexpected, f"{len(unexpected)} queries {fault}: {[_describe(each) for each in unexpected[:SHOWN]]}"


def _has_shard_key(query: dict[str, Any]) -> bool:
    """Return True if a recorded query has the shard key, in each pipeline of a union and each part of a disjunction."""
    command = query.get("originatingCommand") or query["command"]
    if "$truncated" in command:
        # Too long for the profile; the same pipeline with fewer conversations was examined.
        return True
    if "pipeline" not in command:
        conditions = [command[place] for place in ("filter", "q", "query") if place in command]
        return bool(conditions) and _selects_shards(conditions[0])
    stages = command["pipeline"]
    unions = [stage["$unionWith"]["pipeline"] for stage in stages if "$unionWith" in stage]
    conditions = [pipeline[0].get("$match", {}) for pipeline in (stages, *unions) if pipeline]
    return bool(conditions) and all(map(_selects_shards, conditions))


def _selects_shards(condition: dict[str, Any]) -> bool:
    parts = condition.get("$or", [])
    named = SHARD_KEY in condition or condition.keys() == {DELIBERATE_FIELD}
    return named or (bool(parts) and all(SHARD_KEY in part for part in parts))


def _connected(client: Client) -> bool:
    """Return True if a client with the application name of chat servers is connected."""
    everybody = {"$currentOp": {"allUsers": True, "idleConnections": True}}
    with client.admin.aggregate([everybody, {"$match": {"appName": CHAT_APP_NAME}}]) as found:
        return any(found)


def _plant(mongo_uri: str) -> None:
    """Send both kinds of query under the application name of chat servers."""
    with Client(mongo_uri, appname=CHAT_APP_NAME) as client:
        scratch = client[DATABASE][SCRATCH_COLLECTION]
        scratch.insert_one({})
        assert scratch.find_one({"no": "index"}) is None
        scratch.drop()
        assert client[DATABASE]["entries"].find_one({"_id": PLANTED_ID}) is None


def _describe(query: dict[str, Any]) -> str:
    command = query["command"]
    return f"{query['op']} of {query['ns']} by {command.get('filter') or command.get('q') or command}"
