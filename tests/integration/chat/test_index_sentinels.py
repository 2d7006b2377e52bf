"""A sentinel of the change index that holds no valid generation counts as a loss and stops no server."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from chat_service.model.cursor import Resync
from chat_service.storage import index_generation, scripts
from chat_service.storage.change_index import RedisChangeIndex
from tests.integration.chat.conftest import ALICE
from tests.integration.chat.test_index import ONE, cursor_of

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_generation, "SENTINEL_GRACE_S", 0.0)


@pytest.mark.parametrize("nonsense", ["", "x", "1x", "-1", "1.5", "nan", "0x10", "007", "9" * 5000, b"\xff"])
async def test_invalid_sentinel_is_a_loss(index: RedisChangeIndex, redis: Redis, nonsense: str | bytes) -> None:
    cursor = await cursor_of(index, ALICE)
    sentinel = scripts.sentinel_arguments(ALICE[:2]).keys[0]
    await redis.set(sentinel, nonsense)
    await index.touch({ONE: [ALICE]})
    reading = await index.read_changes(ALICE, cursor)
    assert (reading.resync, index.generation.number) == (Resync.OTHER_GENERATION, cursor.generation + 1)
    assert await redis.get(sentinel) == str(index.generation.number).encode()


async def test_probe_survives_invalid_sentinel(index: RedisChangeIndex, redis: Redis) -> None:
    before = index.generation.number
    await redis.set(scripts.sentinel_arguments("00").keys[0], "nonsense")
    await index.generation.probe()
    assert index.generation.complete
    assert index.generation.number == before + 1
