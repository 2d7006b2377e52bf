"""No question that a chat server asks may cost more the more there is: MongoDB tells which read whole collections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pymongo import MongoClient

DATABASE: Final = "parley"
# What a chat server calls itself; tests may read whole collections.
ASKED_BY: Final = "parley-chat"
SHOWN: Final = 5


@contextmanager
def no_scans(mongo_uri: str) -> Iterator[None]:
    """Fail in the end if chat servers have had MongoDB read a whole collection meanwhile."""
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        database = client[DATABASE]
        database.command("profile", 1, filter={"planSummary": {"$regex": "COLLSCAN"}, "appName": ASKED_BY})
        yield
        # A change stream goes along the oplog.
        scans = list(database["system.profile"].find({"originatingCommand.pipeline.$changeStream": {"$exists": False}}))
    assert not scans, f"{len(scans)} questions read whole collections: {[_told(each) for each in scans[:SHOWN]]}"


def _told(scan: dict[str, Any]) -> str:
    command = scan["command"]
    return f"{scan['op']} of {scan['ns']} by {command.get('filter') or command.get('q') or command}"
