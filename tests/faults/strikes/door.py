"""Envoy, and the connections of devices to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from tests.faults.cluster import Cluster, start, valkey_at


@asynccontextmanager
async def killed(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Every stream of every device ends at once."""
    cluster.envoy.kill()
    try:
        yield
    finally:
        await asyncio.to_thread(start, [cluster.envoy])
        await asyncio.to_thread(cluster.stack.wait_envoy_healthy)


@asynccontextmanager
async def away_while_the_index_is_lost(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Half of the devices find no way in while others talk, and then nothing is left of what would have told them."""
    cluster.phones.refuse()
    yield
    async with valkey_at(cluster.master) as valkey:
        await valkey.flushall()
    await cluster.phones.accept()


@asynccontextmanager
async def connections_cut(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Of the devices on one cable."""
    cluster.phones.cut()
    yield
