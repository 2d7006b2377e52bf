"""Faults of MongoDB, the store of record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

from pymongo.errors import PyMongoError

from tests.faults.cluster import Cluster, mongo, start

SLOW_MS = 400
# Writes that only the primary has.
ALONE_S = 1.5


@asynccontextmanager
async def primary_killed(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Kill the primary; the others elect a new one."""
    primary = await cluster.primary()
    primary.kill()
    try:
        yield
    finally:
        await asyncio.to_thread(start, [primary])


@asynccontextmanager
async def primary_frozen(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Freeze the primary; it resumes and briefly believes to be the primary."""
    primary = await cluster.primary()
    primary.freeze()
    try:
        yield
    finally:
        primary.resume()


@asynccontextmanager
async def stepped_down(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Step the primary down during writes; no process ends."""
    async with mongo(await cluster.primary()) as client:
        # It may drop the connection together with the office.
        with suppress(PyMongoError):
            await client.admin.command("replSetStepDown", 5, force=True)
    yield


@asynccontextmanager
async def slow(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Delay every write and read of the primary."""
    data = {"failCommands": ["insert", "update", "find"], "blockConnection": True, "blockTimeMS": SLOW_MS}
    async with mongo(await cluster.primary()) as client:
        await client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)
        try:
            yield
        finally:
            with suppress(PyMongoError):
                await client.admin.command("configureFailPoint", "failCommand", mode="off")


@asynccontextmanager
async def rolled_back(cluster: Cluster, _: Random) -> AsyncIterator[None]:
    """Kill the primary with writes that were never replicated; it rolls them back."""
    primary, others = await cluster.primary(), await cluster.secondaries()
    for each in others:
        each.freeze()
    await asyncio.sleep(ALONE_S)
    primary.kill()
    for each in others:
        each.resume()
    try:
        yield
    finally:
        await cluster.primary()
        await asyncio.to_thread(start, [primary])
