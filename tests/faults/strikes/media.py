"""Media servers and their picture workers that are killed and frozen."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

from tests.faults.cluster import Cluster, killed, one_frozen

WORKER_KILLS = 6
# A worker starts within this time, and is hit idle, at work, or at its start.
KILL_EVERY_S = 0.7


@asynccontextmanager
async def one_killed(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Kill a media server; the other one goes on with its uploads and its files to collect."""
    async with killed(random.sample(cluster.media_servers, 1)):
        yield


@asynccontextmanager
async def all_killed(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Kill all media servers."""
    async with killed(cluster.media_servers):
        yield


@asynccontextmanager
async def frozen(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Freeze a media server beyond its leases; it resumes unaware that the other one has completed its files."""
    async with one_frozen(cluster.media_servers, random):
        yield


@asynccontextmanager
async def picture_workers_killed(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Kill the workers of all media servers again and again, as the kernel does without memory."""
    for _ in range(WORKER_KILLS):
        for server in random.sample(cluster.media_servers, len(cluster.media_servers)):
            for worker in children(server.pid):
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
        await asyncio.sleep(KILL_EVERY_S)
    yield


def children(pid: int) -> list[int]:
    """Return the ids of the processes that a process has started."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
