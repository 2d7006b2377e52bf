"""Fixtures of the tests of notify on real stores."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from devstack.stack import Stack
from servicekit.mongo import Database
from servicekit.redis import connect_redis
from tests.integration.notify.environment import DeliveryEnvironment


@pytest.fixture
async def environment(valkey: Stack, database: Database) -> AsyncIterator[DeliveryEnvironment]:
    """Yield empty stores."""
    redis = connect_redis(valkey.redis_url)
    await redis.flushall()
    environment = DeliveryEnvironment(redis, database)
    await environment.tokens.ensure_indexes()
    yield environment
    await redis.aclose()
