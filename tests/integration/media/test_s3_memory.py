"""Transfers hold no object in memory."""

from __future__ import annotations

import asyncio
import resource
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from devstack.stack import Stack
from media_service.storage.s3 import S3ObjectStore
from servicekit.clock import SystemClock
from tests.s3 import s3_settings

pytestmark = pytest.mark.integration

MIB: Final = 1 << 20
CHUNK: Final = bytes(64 * 1024)
TRANSFERS: Final = 20


class Memory:
    """The resident memory of this process in bytes, and its largest growth when it was looked at."""

    def __init__(self) -> None:
        self._before = self._resident()
        self.growth = 0

    def look(self) -> None:
        self.growth = max(self.growth, self._resident() - self._before)

    def _resident(self) -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.fixture
async def store(seaweedfs: Stack) -> AsyncIterator[S3ObjectStore]:
    store = S3ObjectStore(s3_settings(seaweedfs), SystemClock())
    # What the first transfers load stays.
    await transfer(store, MIB, Memory())
    yield store
    await store.close()


async def transfer(store: S3ObjectStore, size: int, memory: Memory) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(size // len(CHUNK)):
            memory.look()
            yield CHUNK

    key, received = f"memory/{uuid.uuid4().hex}", 0
    await store.put(key, size, chunks())
    async for chunk in store.read(key):
        memory.look()
        received += len(chunk)
    assert received == size
    await store.delete([key])


async def test_large_object_takes_little_memory(store: S3ObjectStore) -> None:
    memory = Memory()
    await transfer(store, 256 * MIB, memory)
    assert memory.growth < 16 * MIB


async def test_concurrent_transfers_take_little_memory(store: S3ObjectStore) -> None:
    memory = Memory()
    await asyncio.gather(*(transfer(store, 10 * MIB, memory) for _ in range(TRANSFERS)))
    assert memory.growth < 48 * MIB
