"""Presence servers that are killed, frozen and restarted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from tests.faults.cluster import Cluster, killed, one_frozen, restart_in_turn


@asynccontextmanager
async def one_killed(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Kill a presence server; the chat servers that report to it go to the other one."""
    async with killed(random.sample(cluster.presence_servers, 1)):
        yield


@asynccontextmanager
async def all_killed(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Kill all presence servers; nobody is told offline because of it."""
    async with killed(cluster.presence_servers):
        yield


@asynccontextmanager
async def frozen(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Freeze a presence server; it resumes unaware that the chat servers have gone to the other one."""
    async with one_frozen(cluster.presence_servers, random):
        yield


@asynccontextmanager
async def all_restarted(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Restart all presence servers one after the other, as in a rolling upgrade."""
    await restart_in_turn(cluster.presence_servers)
    yield
