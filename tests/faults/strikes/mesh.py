"""Mesh links between running chat servers that are cut, dead or slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from tests.faults.cluster import Cluster
from tests.proxy.wire import Relay

CUTS = 5
CUT_EVERY_S = 0.4
SLOW_S = 0.2


@asynccontextmanager
async def links_cut(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Cut links repeatedly, with frames in flight."""
    relay = _used(cluster, random)
    for _ in range(CUTS):
        relay.cut()
        await asyncio.sleep(CUT_EVERY_S)
    yield


@asynccontextmanager
async def links_dead(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Hold all traffic without an error; a hanging link is considered broken after some seconds."""
    relay = _used(cluster, random)
    relay.hold()
    try:
        yield
    finally:
        relay.flow()


@asynccontextmanager
async def links_slow(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Delay all traffic of the links."""
    relay = _used(cluster, random)
    relay.delay = SLOW_S
    try:
        yield
    finally:
        relay.delay = 0.0


def _used(cluster: Cluster, random: Random) -> Relay:
    """Return a relay that carries links: the server with the lowest id dials all others and is dialled by none."""
    return random.choice([relay for relay in cluster.mesh.values() if relay.in_use] or list(cluster.mesh.values()))
