"""Devices that are there, or come and go, and watch each other and the crowd."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from random import Random
from typing import Final, Self

from parley.chat.v1 import chat_pb2
from tests.eventually import eventually
from tests.faults.presence.journal import Heard, PresenceJournal, Told
from tests.faults.staying_device import StayingDevice
from tests.raw.device import RawDevice
from tests.raw.presence import BACKGROUND, OFFLINE, ONLINE, show, states
from tests.raw.world import World

STEADY: Final = 3
RESTLESS: Final = 3
STAYS_S: Final = (1.0, 8.0)
# After the last fault and the last change everybody knows the truth within this time.
CONVERGED_S: Final = 15.0


class PresentDevice(StayingDevice):
    """A device that watches the users `watched`, and writes down what it is told as `name`."""

    def __init__(self, name: str, device: RawDevice, journal: PresenceJournal, at: str) -> None:
        super().__init__(device, ONLINE, at)
        self.name = name
        self.watched: list[str] = []
        self.is_steady = False
        self._journal = journal
        self._streams = 0
        device.on_presence = self._write_down

    async def on_open(self) -> None:
        """Watch on the new stream."""
        self._streams += 1
        if self.watched:
            self._journal.shown[self.name] = {}
            watch = chat_pb2.WatchPresenceRequest(user_ids=self.watched)
            await self.device.stream.send_frame(watch_presence=watch)

    async def on_answer(self, state: str) -> None:
        """Record that a server heard the device."""
        if self.is_steady:
            self._journal.heard[self.device.user_id].append(Heard(self._streams, time.monotonic()))

    def on_close(self) -> None:
        """Forget what was told on the stream."""
        self._journal.shown.pop(self.name, None)

    def _write_down(self, presence: chat_pb2.Presence) -> None:
        told, now = states(presence.users), time.monotonic()
        self._journal.shown.setdefault(self.name, {}).update(told)
        self._journal.told += [Told(self.name, user, state, now) for user, state in told.items()]


class Onlookers:
    """Users who stay in the foreground and watch all, and users who come and go; an async context manager.

    `crowd` are devices of users who are online all the time, and who are watched as well.
    """

    def __init__(self, world: World, doors: Sequence[str], crowd: Sequence[RawDevice], random: Random) -> None:
        self.journal = PresenceJournal()
        self._world = world
        self._doors = doors
        self._crowd = crowd
        self._random = random
        self._devices: list[PresentDevice] = []
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        names = [f"onlooker-{number}" for number in range(STEADY + RESTLESS)]
        users = await self._world.users(*names)
        await show(*users, *self._crowd)
        self._devices = [
            PresentDevice(name, user, self.journal, self._doors[number % len(self._doors)])
            for number, (name, user) in enumerate(zip(names, users, strict=True))
        ]
        for device in self._devices[:STEADY]:
            device.is_steady = True
            self.journal.watchers.append(device.name)
            device.watched = list(dict.fromkeys(each.user_id for each in (*users, *self._crowd)))
        for device in self._devices:
            await self._open.enter_async_context(device)
        await eventually(lambda: len(self.journal.shown) == STEADY and all(self.journal.shown.values()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def come_and_go(self, is_running: Callable[[], bool]) -> None:
        """Let the restless users come and go while `is_running` returns true; each ends in another state."""
        restless = self._devices[STEADY:]
        while is_running():
            await asyncio.sleep(self._random.uniform(*STAYS_S) / RESTLESS)
            self._random.choice(restless).state = self._random.choice((ONLINE, BACKGROUND, OFFLINE))
        for device, state in zip(restless, (ONLINE, BACKGROUND, OFFLINE), strict=True):
            device.state = state

    async def wait_converged(self, timeout: float = CONVERGED_S) -> float:
        """Wait until all watchers know the truth, or `timeout`; return the seconds."""
        began, journal = time.monotonic(), self.journal
        journal.truth = {each.user_id: ONLINE for each in self._crowd}
        journal.truth |= {each.device.user_id: each.state for each in self._devices}
        with suppress(AssertionError):
            await eventually(lambda: len(journal.shown) == STEADY and not journal.differences(), timeout)
        return time.monotonic() - began
