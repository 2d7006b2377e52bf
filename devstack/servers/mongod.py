"""mongod as a member of a replica set, possibly its only one; change streams and majority writes require a set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from devstack.binaries import server_binary
from devstack.managed_process import Probe, ProcessSpec
from devstack.ports import LOOPBACK

_SET_NAME = "rs0"
_NOT_YET_INITIALIZED = 94
_INVALID_REPLICA_SET_CONFIG = 93  # "our replica set config is invalid or we are not a member of it"


# A set of several members replaces a lost primary within seconds.
_ELECTION_SETTINGS = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}


def mongod_spec(folder: Path, log: Path, port: int, *, name: str = "mongod", ports: Sequence[int] = ()) -> ProcessSpec:
    """Return the spec of a mongod with its data in `folder`, 0.25 GB of cache and small journal files.

    `ports` are those of all members of the set; the first one initiates it. Without them the set has one member. With
    several members the `failCommand` fail point is enabled for tests.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fail_points = ("--setParameter", "enableTestCommands=1") if ports else ()
    command = (
        *(str(server_binary("mongod")), "--dbpath", str(folder), "--bind_ip", LOOPBACK, "--port", str(port)),
        *("--replSet", _SET_NAME, "--nounixsocket", "--oplogSize", "64", "--wiredTigerCacheSizeGB", "0.25"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false", *fail_points),
        # It logs a slow command with its values, which may be content of users.
        *("--slowms", "10000"),
        # By default it preallocates 300 MB of journal.
        *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=10MB)"),
    )
    address, members = _address(port), [_address(member) for member in ports or [port]]
    return ProcessSpec(name, command, log, _probe(address, members), address, (port,), grace=20.0)


def mongo_uri(*ports: int) -> str:
    """Return the connection string of the replica set with members on `ports`."""
    return f"mongodb://{','.join(map(_address, ports))}/?replicaSet={_SET_NAME}"


def _address(port: int) -> str:
    return f"{LOOPBACK}:{port}"


def _probe(address: str, members: Sequence[str]) -> Probe:
    def probe() -> str | None:
        client: MongoClient[dict[str, Any]] = MongoClient(
            f"mongodb://{address}/?directConnection=true", serverSelectionTimeoutMS=200, socketTimeoutMS=2000
        )
        with client:
            try:
                return _check_replica_set(client, address, members)
            except PyMongoError as error:
                return str(error).partition(", Timeout:")[0]

    return probe


def _check_replica_set(client: MongoClient[dict[str, Any]], address: str, members: Sequence[str]) -> str | None:
    hello = client.admin.command("hello")
    if hello.get("isWritablePrimary") or (len(members) > 1 and hello.get("secondary") and hello.get("primary")):
        return None
    if not hello.get("setName") and address == members[0]:
        _configure(client, members)
    return "it has no primary in its replica set yet"


def _configure(client: MongoClient[dict[str, Any]], addresses: Sequence[str]) -> None:
    """Initiate the set; or reconfigure it if its data come from a stack on other ports."""
    members = [{"_id": number, "host": address} for number, address in enumerate(addresses)]
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code == _NOT_YET_INITIALIZED:
            initial: dict[str, Any] = {"_id": _SET_NAME, "members": members}
            client.admin.command(
                "replSetInitiate", {**initial, "settings": _ELECTION_SETTINGS} if members[1:] else initial
            )
        elif error.code != _INVALID_REPLICA_SET_CONFIG:
            raise
        return
    if [member["host"] for member in config["members"]] != list(addresses):
        updated = {**config, "members": members, "version": config["version"] + 1}
        client.admin.command("replSetReconfig", updated, force=True)
