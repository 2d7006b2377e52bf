"""mongod as a replica set of one, which is what transactions, change streams and majority writes need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from devstack.binaries import binary
from devstack.part import Probe, Recipe
from devstack.ports import LOOPBACK

_SET = "rs0"
_NOT_YET_INITIALIZED = 94
_INVALID_REPLICA_SET_CONFIG = 93  # "our replica set config is invalid or we are not a member of it"


def mongod(folder: Path, log: Path, port: int) -> Recipe:
    """Data in `folder`. A quarter of a gigabyte of cache and small journal files keep it light."""
    folder.mkdir(parents=True, exist_ok=True)
    command = (
        *(str(binary("mongod")), "--dbpath", str(folder), "--bind_ip", LOOPBACK, "--port", str(port)),
        *("--replSet", _SET, "--nounixsocket", "--oplogSize", "64", "--wiredTigerCacheSizeGB", "0.25"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        # Else it allocates 300 MB of journal in advance.
        *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=10MB)"),
    )
    address = f"{LOOPBACK}:{port}"
    return Recipe("mongod", command, log, _probe(address), address, (port,), grace=20.0)


def mongo_uri(port: int) -> str:
    """The connection string of the set."""
    return f"mongodb://{LOOPBACK}:{port}/?replicaSet={_SET}"


def _probe(address: str) -> Probe:
    def look() -> str | None:
        client: MongoClient[dict[str, Any]] = MongoClient(
            f"mongodb://{address}/?directConnection=true", serverSelectionTimeoutMS=200, socketTimeoutMS=2000
        )
        with client:
            try:
                return _become_primary(client, address)
            except PyMongoError as error:
                return str(error).partition(", Timeout:")[0]

    return look


def _become_primary(client: MongoClient[dict[str, Any]], address: str) -> str | None:
    hello = client.admin.command("hello")
    if hello.get("isWritablePrimary"):
        return None
    if not hello.get("setName"):
        _configure(client, address)
    return "it is not yet primary of its replica set"


def _configure(client: MongoClient[dict[str, Any]], address: str) -> None:
    """Founds the set; or, when its data come from a stack on other ports, tells it its new address."""
    members = [{"_id": 0, "host": address}]
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code == _NOT_YET_INITIALIZED:
            client.admin.command("replSetInitiate", {"_id": _SET, "members": members})
        elif error.code != _INVALID_REPLICA_SET_CONFIG:
            raise
        return
    if config["members"][0]["host"] != address:
        renewed = {**config, "members": members, "version": config["version"] + 1}
        client.admin.command("replSetReconfig", renewed, force=True)
