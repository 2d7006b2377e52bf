"""The environment of retention tests; a sweep processes three entries at a time."""

from __future__ import annotations

import pytest

from chat_service.history.history import History
from chat_service.retention import sweep
from chat_service.storage.change_index import RedisChangeIndex
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.log import MongoLog
from chat_service.storage.memberships import MongoMembershipStore
from servicekit.mongo import Database
from tests.integration.chat.retention.environment import RetentionEnvironment


@pytest.fixture
async def environment(
    database: Database, index: RedisChangeIndex, monkeypatch: pytest.MonkeyPatch
) -> RetentionEnvironment:
    monkeypatch.setattr(sweep, "BATCH_ENTRIES", 3)
    memberships = MongoMembershipStore(database)
    environment = RetentionEnvironment(
        database, History(MongoLog(database), MongoConversationStore(database), memberships, index)
    )
    await environment.store.ensure_indexes()
    return environment
