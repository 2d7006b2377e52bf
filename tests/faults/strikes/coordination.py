"""Faults of etcd, which stores the ring's members."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from tests.faults.cluster import Cluster, start
from tests.faults.strikes.chat import one_killed

# Longer than a lease of a chat server.
LEASE_S = 5.0


@asynccontextmanager
async def member_killed(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Kill one etcd member; the others continue, after an election if it led."""
    member = random.choice(cluster.etcds)
    member.kill()
    try:
        yield
    finally:
        await asyncio.to_thread(start, [member])


@asynccontextmanager
async def all_stopped(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Stop all of etcd; the last ring stays in force."""
    for member in cluster.etcds:
        member.kill()
    try:
        yield
    finally:
        await asyncio.to_thread(start, cluster.etcds)


@asynccontextmanager
async def data_lost(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Delete etcd's data; it restarts without members and at a lower revision."""
    async with all_stopped(cluster, random):
        for member in cluster.etcds:
            shutil.rmtree(cluster.data(member.name))
            cluster.data(member.name).mkdir(mode=0o700)
        yield


@asynccontextmanager
async def frozen_while_chat_server_dies(cluster: Cluster, random: Random) -> AsyncIterator[None]:
    """Freeze etcd and kill a chat server, which nobody can expel then; the others skip it."""
    for member in cluster.etcds:
        member.freeze()
    async with one_killed(cluster, random):
        try:
            yield
        finally:
            for member in cluster.etcds:
                member.resume()


@asynccontextmanager
async def leases_expired(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Freeze etcd for longer than all leases; it may expire them when it resumes."""
    for member in cluster.etcds:
        member.freeze()
    try:
        await asyncio.sleep(LEASE_S)
    finally:
        for member in cluster.etcds:
            member.resume()
    yield
