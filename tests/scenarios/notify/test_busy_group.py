"""A busy group: none of 5,000 entries reaches a provider for members who see them, or do not want to be disturbed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from devstack.services import CHAT, NOTIFY
from devstack.stack import Stack
from parley.chat.v1 import conversation_pb2
from parley.notify.v1 import notify_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.pushes import Pushes
from tests.raw.world import World
from tests.scenarios.notify.test_pushes import ALL_DAY, FOREVER

pytestmark = pytest.mark.scenario

ENTRIES = 5_000
SENDERS = 4
# Fewer than a lane has room for.
WINDOW = 125
PATIENCE_S = 60.0
ENVIRONMENT = {
    "PARLEY_SENDS_PER_SECOND": "100000",
    "PARLEY_SENDS_BURST": "100000",
    "PARLEY_ENTRIES_PER_SECOND": "100000",
    "PARLEY_ENTRIES_BURST": "100000",
}


@pytest.fixture(scope="module")
def busy_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system without limits on sends."""
    services = (CHAT, NOTIFY)
    with Stack(tmp_path_factory.mktemp("busy"), chat_servers=2, services=services, environment=ENVIRONMENT) as stack:
        yield stack


@pytest.fixture
async def busy_world(busy_stack: Stack) -> AsyncIterator[World]:
    async with World(busy_stack) as world:
        yield world


@pytest.fixture
async def pushes(busy_world: World) -> AsyncIterator[Pushes]:
    async with Pushes(busy_world) as pushes:
        yield pushes


@dataclass(frozen=True, slots=True)
class BusyGroup:
    """A group whose members all have tokens: `watching` are in the foreground, the others are offline."""

    group: str
    senders: list[RawDevice]
    watching: list[RawDevice]
    muted: list[RawDevice]
    quiet: list[RawDevice]
    reachable: RawDevice

    @property
    def undisturbed(self) -> list[RawDevice]:
        return [*self.senders, *self.watching, *self.muted, *self.quiet]


async def gather_group(world: World, pushes: Pushes) -> BusyGroup:
    senders, watching = await world.users(*["sender"] * SENDERS), await world.users("wanda", "walt")
    muted, quiet = await world.users("mia", "max"), await world.users("quinn", "quentin")
    [reachable] = await world.users("rita")
    members = [*senders, *watching, *muted, *quiet, reachable]
    for device in members:
        await pushes.register(device)
    for device in quiet:
        preferences = notify_pb2.Preferences(quiet_hours=ALL_DAY)
        await device.call(notify_pb2.SetPreferencesRequest(preferences=preferences))
    for device in (*senders, *watching):
        await device.connect()
    group = await senders[0].group("Concert", members[1:])
    for device in muted:
        await device.call(conversation_pb2.SetMuteRequest(conversation_id=group, mute_until_time=FOREVER))
    # All were told that they were added; before the mute that is pushed.
    await eventually(lambda: pushes.recorded(reachable), 20)
    await pushes.wait_drained()
    return BusyGroup(group, senders, watching, muted, quiet, reachable)


async def flood(busy: BusyGroup, sender: RawDevice, count: int) -> int:
    """Send messages, WINDOW at a time, and return the highest seq."""
    newest = 0
    for start in range(0, count, WINDOW):
        numbers = range(start, min(start + WINDOW, count))
        keys = [await sender.send(busy.group, f"message {number}") for number in numbers]
        for key in keys:
            answer = await sender.next_result(key, PATIENCE_S)
            assert answer.HasField("appended"), answer
            newest = max(newest, answer.appended.seq)
    return newest


async def test_busy_group_disturbs_nobody_who_sees_it_muted_it_or_has_quiet_hours(
    busy_world: World, pushes: Pushes
) -> None:
    busy = await gather_group(busy_world, pushes)
    undisturbed, before = busy.undisturbed, pushes.recorded(*busy.undisturbed)
    assert {each["token"] for each in before} <= {each.device_id for each in busy.muted}
    sent = await asyncio.gather(*(flood(busy, each, ENTRIES // SENDERS) for each in busy.senders))
    newest = max(sent)
    assert newest >= ENTRIES
    await eventually(lambda: ("message", newest) in pushes.kinds(busy.reachable), PATIENCE_S)
    await pushes.wait_drained(PATIENCE_S)
    assert pushes.recorded(*undisturbed) == before
    shown = pushes.recorded(busy.reachable)
    assert len(shown) < ENTRIES, "those that came meanwhile are collapsed"
    assert {each["collapse_id"] for each in shown} == {busy.group}
    assert len({each["seq"] for each in shown}) == len(shown)
    await tell_why(busy, pushes, newest)


async def tell_why(busy: BusyGroup, pushes: Pushes, newest: int) -> None:
    """Assert that the trace of each member says why nothing was pushed."""
    for device in busy.muted:
        assert set(await pushes.outcomes(device)) == {"muted"}
    for device in busy.quiet:
        assert set(await pushes.outcomes(device)) == {"quiet_hours"}
    for device in busy.watching:
        assert await pushes.outcomes(device) == []

        async def is_told(device: RawDevice = device) -> bool:
            assert await pushes.unpushed(device) == [(busy.group, newest, device.device_id)]
            return True

        await eventually(is_told)
