"""mongod as a member of a replica set, which is what change streams and majority writes need; the set may be of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from devstack.binaries import binary
from devstack.managed_process import Probe, Recipe
from devstack.ports import LOOPBACK

_SET = "rs0"
_NOT_YET_INITIALIZED = 94
_INVALID_REPLICA_SET_CONFIG = 93  # "our replica set config is invalid or we are not a member of it"


# Of a set of several: a primary that is gone or silent is replaced within seconds.
_SETTINGS = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}


def mongod(folder: Path, log: Path, port: int, *, name: str = "mongod", ports: Sequence[int] = ()) -> Recipe:
    """Data in `folder`. A quarter of a gigabyte of cache and small journal files keep it light.

    `ports` are those of all members of the set, of which the first founds it; without them it is alone. One of several
    can be told to fail (`failCommand`), for tests.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told_to_fail = ("--setParameter", "enableTestCommands=1") if ports else ()
    command = (
        *(str(binary("mongod")), "--dbpath", str(folder), "--bind_ip", LOOPBACK, "--port", str(port)),
        *("--replSet", _SET, "--nounixsocket", "--oplogSize", "64", "--wiredTigerCacheSizeGB", "0.25"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false", *told_to_fail),
        # Else it allocates 300 MB of journal in advance.
        *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=10MB)"),
    )
    address, members = _address(port), [_address(each) for each in ports or [port]]
    return Recipe(name, command, log, _probe(address, members), address, (port,), grace=20.0)


def mongo_uri(*ports: int) -> str:
    """The connection string of the set."""
    return f"mongodb://{','.join(map(_address, ports))}/?replicaSet={_SET}"


def _address(port: int) -> str:
    return f"{LOOPBACK}:{port}"


def _probe(address: str, members: Sequence[str]) -> Probe:
    def look() -> str | None:
        client: MongoClient[dict[str, Any]] = MongoClient(
            f"mongodb://{address}/?directConnection=true", serverSelectionTimeoutMS=200, socketTimeoutMS=2000
        )
        with client:
            try:
                return _join(client, address, members)
            except PyMongoError as error:
                return str(error).partition(", Timeout:")[0]

    return look


def _join(client: MongoClient[dict[str, Any]], address: str, members: Sequence[str]) -> str | None:
    hello = client.admin.command("hello")
    if hello.get("isWritablePrimary") or (len(members) > 1 and hello.get("secondary") and hello.get("primary")):
        return None
    if not hello.get("setName") and address == members[0]:
        _configure(client, members)
    return "it has no primary in its replica set yet"


def _configure(client: MongoClient[dict[str, Any]], addresses: Sequence[str]) -> None:
    """Founds the set; or, when its data come from a stack on other ports, tells it its new addresses."""
    members = [{"_id": number, "host": address} for number, address in enumerate(addresses)]
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code == _NOT_YET_INITIALIZED:
            founded: dict[str, Any] = {"_id": _SET, "members": members}
            client.admin.command("replSetInitiate", {**founded, "settings": _SETTINGS} if members[1:] else founded)
        elif error.code != _INVALID_REPLICA_SET_CONFIG:
            raise
        return
    if [each["host"] for each in config["members"]] != list(addresses):
        renewed = {**config, "members": members, "version": config["version"] + 1}
        client.admin.command("replSetReconfig", renewed, force=True)
