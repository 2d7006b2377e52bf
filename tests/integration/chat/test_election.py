"""During a MongoDB election, refused writes are retried and appended once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from chat_service.storage.log import MongoLog
from devstack.managed_process import ManagedProcess
from devstack.stack import Stack
from servicekit.mongo import Database
from tests.integration.chat.conftest import Owners, direct, draft, seq_of

pytestmark = pytest.mark.integration

# The driver retries once by itself; this is one failure more than it handles.
FAILED_INSERTS = 2


@pytest.fixture(scope="module")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a mongod with fail points enabled, instead of the one that all tests share."""
    stack = Stack(tmp_path_factory.mktemp("election"), only=["mongod"])
    recipe = stack.processes["mongod"].spec
    stack._servers["mongod"] = ManagedProcess(
        replace(recipe, command=(*recipe.command, "--setParameter", "enableTestCommands=1"))
    )
    with stack:
        yield stack


@asynccontextmanager
async def failing(database: Database, **failure: Any) -> AsyncIterator[None]:
    """Let the next inserts fail; assert on exit that all of them did."""
    point = {"configureFailPoint": "failCommand"}
    before = (await database.client.admin.command({**point, "mode": "off"}))["count"]
    await database.client.admin.command(
        {**point, "mode": {"times": FAILED_INSERTS}, "data": {"failCommands": ["insert"], **failure}}
    )
    yield
    after = (await database.client.admin.command({**point, "mode": "off"}))["count"]
    assert after - before == FAILED_INSERTS


@pytest.mark.parametrize(
    "failure",
    [
        {"errorCode": 10107},
        {"errorCode": 133},
        {"errorCode": 134},
        {"errorCode": 262},
        # The write is applied, and may be rolled back.
        {"writeConcernError": {"code": 91, "errmsg": "shutting down"}},
        {"writeConcernError": {"code": 64, "errmsg": "waited too long for the others"}},
    ],
    ids=str,
)
async def test_send_refused_by_election_is_appended_once(
    owners: Owners, database: Database, failure: dict[str, Any]
) -> None:
    running = await owners.start()
    creation = direct()
    await running.create(creation)
    async with asyncio.timeout(20):
        async with failing(database, **failure):
            one = draft(creation.conversation_id)
            seq = seq_of(await running.append(one))
        assert seq_of(await running.append(one)) == seq
        assert seq_of(await running.append(draft(creation.conversation_id))) == seq + 1
    page = await MongoLog(database).read_page(creation.conversation_id, 1, 10)
    assert [entry.seq for entry in page.entries] == [1, 2, 3]
    assert [entry.seq for entry in running.publisher.entries] == [1, 2, 3], "each entry is published once"
