"""An index of a large collection takes hours to build: no limit of time ends the build, and it outlives the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent

from chat_service.storage.accounts import MongoAccountStore
from chat_service.storage.attempts import MongoAttemptCounter
from chat_service.storage.log import MongoLog
from chat_service.storage.media_references import MongoMediaReferences
from chat_service.storage.retention import MongoRetentionStore
from chat_service.storage.word_index import MongoWordIndex
from devstack.managed_process import ManagedProcess
from devstack.ports import PortBlock
from devstack.servers.mongod import mongod_spec
from devstack.stack import Stack
from media_service.storage.media_store import MongoMediaStore
from notify_service.storage.tokens import TOKENS, MongoTokenStore
from servicekit.mongo import Document
from tests.eventually import eventually

pytestmark = pytest.mark.integration

STORES = (
    MongoAccountStore, MongoAttemptCounter, MongoLog, MongoMediaReferences, MongoRetentionStore, MongoWordIndex,
    MongoMediaStore, MongoTokenStore,
)  # fmt: skip


@dataclass
class IndexBuilds(CommandListener):
    """A command listener that records the commands that create indexes."""

    commands: list[dict[str, Any]] = field(default_factory=list)

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "createIndexes":
            self.commands.append(dict(event.command))

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


@pytest.mark.parametrize("store", STORES)
async def test_no_build_has_a_limit_of_time(mongod: Stack, database_name: str, store: type[MongoLog]) -> None:
    builds = IndexBuilds()
    async with AsyncMongoClient[Document](mongod.mongo_uri, event_listeners=[builds]) as client:
        await store(client[database_name]).ensure_indexes()
        await client.drop_database(database_name)
    assert builds.commands
    assert [command for command in builds.commands if "maxTimeMS" in command] == []


@pytest.fixture
def slow_mongod(tmp_path: Path) -> Iterator[str]:
    """Yield the address of a mongod that can be told to stop a build of an index after its start."""
    block = PortBlock()
    spec = mongod_spec(tmp_path / "data", tmp_path / "mongod.log", block.ports.mongod)
    mongod = ManagedProcess(replace(spec, command=(*spec.command, "--setParameter", "enableTestCommands=1")))
    mongod.start()
    try:
        mongod.wait_healthy()
        yield f"mongodb://{mongod.address}/?directConnection=true"
    finally:
        mongod.terminate()
        block.release()


async def test_build_goes_on_when_the_server_that_began_it_ends(slow_mongod: str) -> None:
    async with AsyncMongoClient[Document](slow_mongod) as operator:
        await operator.parley[TOKENS].insert_one({"u": b"a user", "d": b"a device"})
        await pause_builds(operator, "alwaysOn")
        async with AsyncMongoClient[Document](slow_mongod) as first:
            building = asyncio.create_task(MongoTokenStore(first.parley).ensure_indexes())
            await eventually(lambda: is_building(operator))
            building.cancel()
        with suppress(asyncio.CancelledError):
            await building
        async with AsyncMongoClient[Document](slow_mongod) as second:
            building = asyncio.create_task(MongoTokenStore(second.parley).ensure_indexes())
            await asyncio.wait([building], timeout=1)
            assert not building.done()
            assert await is_building(operator)
            await pause_builds(operator, "off")
            await building
        assert len(await operator.parley[TOKENS].index_information()) == 2


async def pause_builds(client: AsyncMongoClient[Document], mode: str) -> None:
    """Have MongoDB stop each build after its start, with the mode `alwaysOn`, or let them go on, with `off`."""
    await client.admin.command({"configureFailPoint": "hangAfterStartingIndexBuild", "mode": mode})


async def is_building(client: AsyncMongoClient[Document]) -> bool:
    """Tell whether MongoDB builds an index."""
    operations = await client.admin.aggregate([{"$currentOp": {}}, {"$match": {"desc": {"$regex": "^IndexBuilds"}}}])
    return bool(await operations.to_list())
