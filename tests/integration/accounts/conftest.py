"""Fixtures for accounts on a real MongoDB, with a manual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher

from chat_service.accounts.accounts import Accounts
from chat_service.accounts.passwords import PasswordHasherPool
from chat_service.storage.accounts import MongoAccountStore
from chat_service.storage.attempts import MongoAttemptCounter
from devstack.stack import Stack
from servicekit import mongo
from tests.integration.accounts.environment import AccountsEnvironment


@pytest.fixture
async def environment(mongod: Stack, database_name: str) -> AsyncIterator[AccountsEnvironment]:
    database = await mongo.connect(mongod.mongo_uri, database_name)
    await MongoAccountStore(database).ensure_indexes()
    await MongoAttemptCounter(database).ensure_indexes()
    passwords = PasswordHasherPool(max_concurrent=2, hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    yield AccountsEnvironment(database, passwords)
    passwords.close()
    await database.client.drop_database(database_name)
    await database.client.close()


@pytest.fixture
def accounts(environment: AccountsEnvironment) -> Accounts:
    return environment.accounts()
