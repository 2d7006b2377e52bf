"""An unreachable or silent MongoDB raises StoreUnavailable; its error responses are raised unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import DuplicateKeyError, OperationFailure

from chat_service.storage.accounts import MongoAccountStore
from servicekit import mongo
from servicekit.config import ConfigurationError
from servicekit.errors import StoreUnavailable
from tests.integration.accounts.environment import AccountsEnvironment

pytestmark = pytest.mark.integration


@pytest.fixture
async def mute() -> AsyncIterator[mongo.Database]:
    """Yield a database of a server that accepts connections and never responds, like a frozen one."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client: AsyncMongoClient[mongo.Document] = AsyncMongoClient(f"mongodb://127.0.0.1:{port}")
    yield client["parley"]
    await client.close()
    server.close()


async def test_silent_server_is_unavailable_after_timeout(mute: mongo.Database) -> None:
    with pytest.raises(StoreUnavailable) as caught, mongo.store_errors(0.2):
        await mute["users"].find_one()
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "STORE_UNAVAILABLE")
    assert caught.value.retry_after


async def test_closed_port_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await mongo.connect("mongodb://127.0.0.1:1", "parley", timeout_s=0.2)


async def test_invalid_uri_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="MongoDB URI"):
        await mongo.connect("mongodb://127.0.0.1:port", "parley")


async def test_account_store_raises_unavailable_for_silent_server(mute: mongo.Database) -> None:
    with pytest.raises(StoreUnavailable), mongo.store_errors(0.2):
        await MongoAccountStore(mute).claim_login_name("alice", "a" * 32)


async def test_server_errors_are_raised_unchanged(environment: AccountsEnvironment) -> None:
    with mongo.store_errors():
        await environment.database["things"].insert_one({"_id": 1})
    with pytest.raises(DuplicateKeyError), mongo.store_errors():
        await environment.database["things"].insert_one({"_id": 1})
    with pytest.raises(OperationFailure), mongo.store_errors():
        await environment.database.command("no such command")


async def test_writes_are_majority_and_journaled(environment: AccountsEnvironment) -> None:
    assert environment.database.write_concern.document == {"w": "majority", "j": True}
    assert environment.database["users"].read_concern.level == "majority"
