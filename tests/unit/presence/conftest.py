"""The watches of a presence server whose stores are in memory and whose clock tests advance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from presence_service.model.leases import Lease
from presence_service.model.presence import DeviceStream, Presence
from presence_service.watching.observer import PresenceObserver
from presence_service.watching.permissions import Permissions
from presence_service.watching.watches import TICK_S, Watch, Watches
from tests.clock import ManualClock
from tests.eventually import run_ready
from tests.unit.presence.memory import (
    MemoryChannels,
    MemoryDirectory,
    MemoryPresenceStore,
    MemorySettings,
    MemoryTimes,
)

SERVER = "chat-1:5101"


class WatchingServer:
    """Watches with all they need. `told` has, by viewer, what each call told: (user, state) in order."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryPresenceStore(self.clock)
        self.times = MemoryTimes()
        self.settings = MemorySettings()
        self.directory = MemoryDirectory()
        self.directory.answers.set()
        self.channels = MemoryChannels()
        self.permissions = Permissions(self.settings, self.directory)
        self.observer = PresenceObserver(self.store, self.times, self.channels, self.clock)
        self.watches = Watches(self.observer, self.permissions, self.clock)
        self.told: list[list[tuple[str, str]]] = []

    async def watch(self, viewer: str, *users: str) -> tuple[Watch, list[str]]:
        """Begin a watch; return it with the state of each user."""
        watch, presences = await self.watches.start(viewer, users, self._tell)
        return watch, [each.state.name for each in presences]

    def _tell(self, presences: Sequence[tuple[str, Presence]]) -> None:
        self.told.append([(user_id, each.state.name) for user_id, each in presences])

    def change(self, user: str, *streams: DeviceStream, seen_ms: int = 0) -> None:
        """Store a record, and let the server hear of it."""
        self.observer.on_record(user, self.store.put(user, *streams, seen_ms=seen_ms))

    def stream(self, *, foreground: bool = True, closed: bool = False) -> DeviceStream:
        """Return a stream that was opened, or closed, just now."""
        return DeviceStream(SERVER, 1, foreground, self.clock.now_ms() if closed else 0)

    def renew(self) -> None:
        """Renew the lease of the chat server."""
        self.store.leases[SERVER] = Lease(1, self.clock.now_ms()), "report"

    async def poll(self) -> None:
        """Read the leases, as the server does twice a second."""
        self.observer.on_leases(await self.store.poll())
        await run_ready()

    async def advance(self, seconds: float, *, polling: bool = True) -> None:
        """Let time pass, in steps of a tick; with `polling` the chat server lives and the leases are read."""
        for _ in range(round(seconds / TICK_S)):
            if polling:
                self.renew()
                await self.poll()
            self.clock.advance(TICK_S)
            await run_ready()


@pytest.fixture
async def server() -> AsyncIterator[WatchingServer]:
    """A server that has read the leases once."""
    server = WatchingServer()
    server.renew()
    await server.poll()
    running = [asyncio.create_task(run()) for run in (server.watches.run, server.observer.run)]
    await run_ready()
    yield server
    for each in running:
        each.cancel()
    await asyncio.wait(running)
