"""A chat server of a crowd is killed: 15 s later nobody is falsely online, and nobody falsely offline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice

import grpc
import pytest

from parley_client.backoff import Backoff
from presence_service.model.visibility import Audience
from presence_service.storage.visibility import MongoVisibilityStore
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.presence import OFFLINE, ONLINE
from tests.raw.stream import StreamEnded
from tests.raw.watcher import StreamWatcher, beating
from tests.raw.world import OPTIONS, World

# Two thousand handshakes take their time on a slow machine.
pytestmark = [pytest.mark.scenario, pytest.mark.fault, pytest.mark.timeout(180)]

USERS = 1000
# Envoy takes 1,024 streams of one connection.
DEVICES_PER_CONNECTION = 100
AT_ONCE = 50
# Often enough for 10 s of silence, and seldom enough for a machine that plays all of them.
BEAT_S = 4.0
CONVERGED_S = 15.0


class Crowd:
    """Users with two devices each. A device in `leaving` does not come back once its stream has ended."""

    def __init__(self, users: Sequence[Sequence[RawDevice]]) -> None:
        self.users = users
        self.devices = [device for user in users for device in user]
        self.leaving: set[str] = set()
        self._lives: list[asyncio.Task[None]] = []

    async def connect(self, servers: Sequence[str]) -> None:
        """Connect each device at one of the servers, in turn, and keep it connected."""
        for start in range(0, len(self.devices), AT_ONCE):
            some = self.devices[start : start + AT_ONCE]
            homes = [servers[number % len(servers)] for number in range(start, start + len(some))]
            self._lives += [
                asyncio.create_task(self._live(device, home)) for device, home in zip(some, homes, strict=True)
            ]
            await eventually(lambda some=some: all("welcome" in _kinds(each) for each in some), 30)  # type: ignore[misc]

    async def _live(self, device: RawDevice, home: str) -> None:
        backoff = Backoff()
        while True:
            try:
                await device.open(home=home)
                backoff.reset()
            except (AssertionError, StreamEnded):
                await device.close()
            end = await device.stream.wait_ended(timeout=3600)
            home = ""
            if device.device_id in self.leaving:
                return
            await asyncio.sleep(backoff.next(end.retry_after))

    def online(self, user: Sequence[RawDevice]) -> bool:
        """Return true if a device of a user is connected."""
        return any(device.connected and "welcome" in device.stream.kinds for device in user)

    async def close(self) -> None:
        """Disconnect all devices."""
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        await asyncio.gather(*(device.close() for device in self.devices))


def _kinds(device: RawDevice) -> list[str]:
    return device.stream.kinds if device.connected else []


@asynccontextmanager
async def crowd_of(world: World, size: int) -> AsyncIterator[Crowd]:
    """Make users who show themselves to everyone; their devices share a few connections to the door."""
    async with AsyncExitStack() as open_:
        phones = [each for start in range(0, size, AT_ONCE) for each in await world.users(*["member"] * AT_ONCE)][:size]
        tablets = [await world.add_device(phone) for phone in phones]
        settings = MongoVisibilityStore(world._store)
        everyone = Audience.EVERYONE, Audience.EVERYONE
        await asyncio.gather(*(settings.update(phone.user_id, *everyone) for phone in phones))
        crowd = Crowd(list(zip(phones, tablets, strict=True)))
        devices = iter(crowd.devices)
        while some := list(islice(devices, DEVICES_PER_CONNECTION)):
            channel = await open_.enter_async_context(grpc.aio.insecure_channel(world.stack.door, options=OPTIONS))
            for device in some:
                device._channel = lambda _, channel=channel: channel  # type: ignore[misc]
        open_.push_async_callback(crowd.close)
        yield crowd


async def test_crowd_is_seen_as_it_is_after_the_death_of_its_server(fragile_world: World) -> None:
    world = fragile_world
    killed, *others = world.servers
    async with crowd_of(world, USERS) as crowd:
        watchers = [StreamWatcher(device) for device in await world.users(*["watcher"] * 4)]
        phones = [user[0] for user in crowd.users]
        async with beating([*crowd.devices, *(each.device for each in watchers)], BEAT_S):
            await crowd.connect(world.servers)
            for number, watcher in enumerate(watchers):
                await watcher.device.open(home=others[number % len(others)])
                await watcher.watch(*phones, timeout=20)
            await eventually(lambda: all(_falsely(crowd, each) == ([], []) for each in watchers), 20)
            for watcher in watchers:
                watcher.history.clear()
            # Devices were connected at the servers in turn.
            hit = crowd.devices[:: len(world.servers)]
            # Of every other one who is hit, the other device goes as well.
            leavers = {device.user_id for device in hit[::2]}
            crowd.leaving = {each.device_id for each in crowd.devices if each.user_id in leavers}
            stayed = [phone for phone in phones if phone.user_id not in leavers]
            killed_at = time.monotonic()
            next(each for each in world.stack.chat_servers if each.address == killed).kill()
            await asyncio.gather(*(each.close() for each in crowd.devices if each.device_id in crowd.leaving))
            await eventually(lambda: all(crowd.online(user) for user in crowd.users if user[0] in stayed), 20)
            await eventually(lambda: time.monotonic() - killed_at >= CONVERGED_S, CONVERGED_S)
            assert [_falsely(crowd, watcher) for watcher in watchers] == [([], [])] * len(watchers)
            assert len(leavers) > USERS / 4
            for watcher in watchers:
                assert watcher.told_offline(stayed) == set()


def _falsely(crowd: Crowd, watcher: StreamWatcher) -> tuple[list[str], list[str]]:
    """Return the users whom a watcher holds falsely to be online, and those falsely to be offline."""
    states = [(user[0].user_id, crowd.online(user), watcher.state(user[0])) for user in crowd.users]
    return (
        [user_id for user_id, online, state in states if not online and state == ONLINE],
        [user_id for user_id, online, state in states if online and state in (OFFLINE, "")],
    )
