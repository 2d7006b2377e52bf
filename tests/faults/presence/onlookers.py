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
from tests.raw.device import RawDevice
from tests.raw.presence import BACKGROUND, OFFLINE, ONLINE, show, states
from tests.raw.stream import StreamEnded
from tests.raw.world import World

STEADY: Final = 3
RESTLESS: Final = 3
BEAT_S: Final = 1.0
# A stream without an answer for so long is left for another one.
ANSWER_S: Final = 4.0
PAUSE_S: Final = 0.1
STAYS_S: Final = (1.0, 8.0)
# After the last fault and the last change everybody knows the truth within this time.
CONVERGED_S: Final = 15.0
_ACTIVITIES: Final = {ONLINE: chat_pb2.ACTIVITY_FOREGROUND, BACKGROUND: chat_pb2.ACTIVITY_BACKGROUND}


class PresentDevice:
    """A device that keeps a stream open while its `state` is not OFFLINE; an async context manager.

    It watches the users `watched`, and writes down what it is told as `name`.
    """

    def __init__(self, name: str, device: RawDevice, journal: PresenceJournal, at: str) -> None:
        self.name = name
        self.device = device
        self.state = ONLINE
        self.watched: list[str] = []
        self.is_steady = False
        self._journal = journal
        self._at = at
        self._streams = 0
        device.strict = False
        device.on_presence = self._write_down

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self.device.close()

    async def _run(self) -> None:
        while True:
            if self.state != OFFLINE:
                # The stream ended, or nothing came, or none could be had.
                with suppress(AssertionError, StreamEnded):
                    await self._one_stream()
                self._journal.shown.pop(self.name, None)
                await self.device.close()
            await asyncio.sleep(PAUSE_S)

    async def _one_stream(self) -> None:
        await self.device.open(at=self._at)
        self._streams += 1
        self._hear()
        if self.watched:
            self._journal.shown[self.name] = {}
            watch = chat_pb2.WatchPresenceRequest(user_ids=self.watched)
            await self.device.stream.send_frame(watch_presence=watch)
        while self.state != OFFLINE:
            beat = chat_pb2.HeartbeatRequest(activity=_ACTIVITIES[self.state])
            await self.device.stream.send_frame(heartbeat=beat)
            await self.device.stream.next_frame("heartbeat", ANSWER_S)
            self._hear()
            await asyncio.sleep(BEAT_S)

    def _hear(self) -> None:
        if self.is_steady:
            self._journal.heard[self.device.user_id].append(Heard(self._streams, time.monotonic()))

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

    async def come_and_go(self, going_on: Callable[[], bool]) -> None:
        """Let the restless users come and go while `going_on` returns true; each ends in another state."""
        restless = self._devices[STEADY:]
        while going_on():
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
