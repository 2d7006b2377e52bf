"""Faults of Valkey, which stores the change index and may lose it."""

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
    """Kill Valkey; unsynced writes are lost."""
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
    """Flush Valkey, as an operator's mistake would."""
    async with valkey_at(cluster.master) as valkey:
        await valkey.flushall()
    yield


@asynccontextmanager
async def frozen(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Freeze Valkey; it accepts connections and answers no command."""
    master = cluster.master
    master.freeze()
    try:
        yield
    finally:
        master.resume()


@asynccontextmanager
async def failed_over(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Promote the replica without the last second of the master's writes."""
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
    """Let Valkey run out of memory; it answers and refuses every write."""
    master = cluster.master
    async with valkey_at(master) as valkey:
        await valkey.config_set("maxmemory", "1")
        try:
            yield
        finally:
            await valkey.config_set("maxmemory", "0")
