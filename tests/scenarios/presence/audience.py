"""Watchers at several chat servers who watch the same users, while parts of the system break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.raw.device import RawDevice
from tests.raw.presence import OFFLINE, show, wait_present
from tests.raw.watcher import StreamWatcher, beating
from tests.raw.world import World

# What a slow machine may add to a promised time.
MARGIN_S = 3.0
# Presence that was lost is complete again within this time.
RESTORE_S = 5.0


class Audience:
    """The watchers, who must be told the same. Whoever is in `beating` is in the foreground while connected."""

    def __init__(self, watchers: Sequence[StreamWatcher], devices: list[RawDevice]) -> None:
        self.watchers = watchers
        self.beating = devices

    async def wait_state(self, user: RawDevice, state: str, timeout: float = 10.0) -> float:
        """Wait until every watcher was told this state of a user; return when the last one was."""
        return max(await asyncio.gather(*(each.wait_state(user, state, timeout) for each in self.watchers)))

    def told_offline(self, *users: RawDevice) -> list[list[str]]:
        """Return what each watcher who was ever told that one of these users is offline was told of that user."""
        told = [watcher.told(user) for watcher in self.watchers for user in users]
        return [states for states in told if OFFLINE in states]


@asynccontextmanager
async def audience(world: World, users: Sequence[RawDevice], servers: Sequence[str]) -> AsyncIterator[Audience]:
    """Let one watcher at each of these servers watch users who show themselves to everyone."""
    await show(*users)
    devices = await world.users(*["watcher"] * len(servers))
    found = Audience([StreamWatcher(device) for device in devices], [*devices, *users])
    async with beating(found.beating):
        await wait_present(*(user for user in users if user.connected))
        for watcher, server in zip(found.watchers, servers, strict=True):
            await watcher.device.connect(home=server)
            # A system that has just started, or was broken before, restores presence first.
            await watcher.watch(*users, timeout=RESTORE_S + 2 * MARGIN_S)
        yield found


async def last(seconds: float) -> None:
    """Return after `seconds`: how long something is away is part of the story."""
    await asyncio.sleep(seconds)
