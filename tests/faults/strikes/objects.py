"""Faults of the S3 store, which has the bytes of files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from tests.faults.cluster import Cluster, start


@asynccontextmanager
async def killed(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Kill the store in the middle of uploads and deletions."""
    cluster.seaweedfs.kill()
    try:
        yield
    finally:
        await asyncio.to_thread(start, [cluster.seaweedfs])


@asynccontextmanager
async def frozen(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Freeze the store; it accepts connections, and does later what was asked meanwhile."""
    cluster.seaweedfs.freeze()
    try:
        yield
    finally:
        cluster.seaweedfs.resume()
