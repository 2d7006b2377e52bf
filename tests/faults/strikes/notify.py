"""Notify servers that are killed, frozen and restarted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from tests.faults.cluster import Cluster, killed, one_frozen, restart_in_turn


@asynccontextmanager
async def one_killed(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Kill a notify server; it takes the events that it left once it runs again."""
    async with killed(random.sample(cluster.notify_servers, 1)):
        yield


@asynccontextmanager
async def all_killed(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Kill all notify servers; events wait in Redis."""
    async with killed(cluster.notify_servers):
        yield


@asynccontextmanager
async def frozen(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Freeze a notify server; it goes on with its events when it resumes."""
    async with one_frozen(cluster.notify_servers, random):
        yield


@asynccontextmanager
async def all_restarted(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Restart all notify servers one after the other, as in a rolling upgrade."""
    await restart_in_turn(cluster.notify_servers)
    yield
