"""Faults of Envoy and of the devices' connections to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from tests.faults.cluster import Cluster, start, valkey_at


@asynccontextmanager
async def killed(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Kill Envoy; every stream of every device ends at once."""
    cluster.envoy.kill()
    try:
        yield
    finally:
        await asyncio.to_thread(start, [cluster.envoy])
        await asyncio.to_thread(cluster.stack.wait_envoy_healthy)


@asynccontextmanager
async def index_flushed_while_devices_offline(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Keep half of the devices offline while others send, then flush the change index."""
    cluster.phones.refuse()
    yield
    async with valkey_at(cluster.master) as valkey:
        await valkey.flushall()
    await cluster.phones.accept()


@asynccontextmanager
async def connections_cut(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Cut the connections of the devices behind one relay."""
    cluster.phones.cut()
    yield
