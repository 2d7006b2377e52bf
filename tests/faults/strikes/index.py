"""Valkey, which keeps the index of changes and may lose it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from tests.faults.cluster import Cluster, start, valkey_at

# Writes of so long are on the master alone when it dies.
LOST_S = 1.0


@asynccontextmanager
async def killed(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Whatever it had not synced is lost."""
    master = cluster.master
    master.kill()
    cluster.redis.refuse()
    try:
        yield
    finally:
        await asyncio.to_thread(start, [master])
        await cluster.redis.accept()
        await cluster.follow()


@asynccontextmanager
async def flushed(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Emptied by somebody who did not know better."""
    async with valkey_at(cluster.master) as valkey:
        await valkey.flushall()
    yield


@asynccontextmanager
async def frozen(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """It takes connections, and answers nothing."""
    master = cluster.master
    master.freeze()
    try:
        yield
    finally:
        master.resume()


@asynccontextmanager
async def failed_over(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """The replica takes over without the last second of what the master had."""
    await cluster.detach_replica()
    await asyncio.sleep(LOST_S)
    died = cluster.master
    died.kill()
    await cluster.promote()
    try:
        yield
    finally:
        await asyncio.to_thread(start, [died])
        await cluster.follow()


@asynccontextmanager
async def out_of_memory(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """It answers, and refuses every write."""
    master = cluster.master
    async with valkey_at(master) as valkey:
        await valkey.config_set("maxmemory", "1")
        try:
            yield
        finally:
            await valkey.config_set("maxmemory", "0")
