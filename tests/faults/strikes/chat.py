"""Chat servers that are killed, frozen and restarted."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Final

from devstack.managed_process import ManagedProcess
from tests.eventually import eventually
from tests.faults.cluster import Cluster, one_frozen

# Draining takes 2 s here, and the rest of the shutdown is short.
LEAVES_S: Final = 10.0


@asynccontextmanager
async def one_killed(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Kill one chat server, which is owner, home and edge of some."""
    async with _killed(cluster, random.sample(cluster.chat_servers, 1)):
        yield


@asynccontextmanager
async def two_killed(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Kill two chat servers: the owner of some conversations and the home of their members."""
    async with _killed(cluster, random.sample(cluster.chat_servers, 2)):
        yield


@asynccontextmanager
async def all_killed(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Kill all chat servers, so that no state in memory is left."""
    async with _killed(cluster, cluster.chat_servers):
        yield


@asynccontextmanager
async def _killed(cluster: Cluster, servers: Sequence[ManagedProcess]) -> AsyncIterator[None]:
    for server in servers:
        server.kill()
        # The cable would take connections on its behalf.
        cluster.mesh[server.name].refuse()
    try:
        yield
    finally:
        await _started(cluster, servers)


async def _started(cluster: Cluster, servers: Sequence[ManagedProcess]) -> None:
    for server in servers:
        await cluster.mesh[server.name].accept()
        server.start()
    for server in servers:
        await asyncio.to_thread(server.wait_healthy)


@asynccontextmanager
async def frozen(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Freeze a chat server beyond its lease; it resumes unaware that others have taken over."""
    async with one_frozen(cluster.chat_servers, random):
        yield


@asynccontextmanager
async def restarted(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Stop a chat server gracefully and start it again."""
    server = random.choice(cluster.chat_servers)
    await _ended(cluster, server)
    try:
        yield
    finally:
        await _started(cluster, [server])


@asynccontextmanager
async def all_restarted(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Restart all chat servers one after the other, as in a rolling upgrade."""
    for server in cluster.chat_servers:
        await _ended(cluster, server)
        await _started(cluster, [server])
        await asyncio.to_thread(cluster.stack.wait_envoy_healthy)
    yield


async def _ended(cluster: Cluster, server: ManagedProcess) -> None:
    server.request_stop()
    with suppress(AssertionError):
        await eventually(lambda: not server.running, LEAVES_S)
    if server.running:
        # Its last words are where it hangs.
        os.kill(server.pid, signal.SIGABRT)
        await eventually(lambda: not server.running)
    if server.returncode != 0:
        cluster.complaints.append(f"{server.name} was asked to leave, and ended with {server.returncode}")
    cluster.mesh[server.name].refuse()
