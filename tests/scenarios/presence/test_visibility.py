"""Every visibility and relation, by every way of asking: all ways show the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import pytest

from parley.chat.v1 import account_pb2
from parley.presence.v1 import presence_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.presence import ACQUAINTED, EVERYONE, NAMES, NOBODY, OFFLINE, ONLINE, show, wait_present
from tests.raw.watcher import AnyPresence, DirectWatcher, StreamWatcher, beating
from tests.raw.world import World

pytestmark = pytest.mark.scenario

AUDIENCES = (EVERYONE, ACQUAINTED, NOBODY)
STRANGER = "a stranger"
# The user began the conversation with the viewer: he is acquainted with the viewer, and that is what counts.
KNOWS_VIEWER = "knows the viewer"
KNOWN_BY_VIEWER = "is known by the viewer"
BLOCKS = "blocks the viewer"
BLOCKED = "is blocked by the viewer"
RELATIONS = (STRANGER, KNOWS_VIEWER, KNOWN_BY_VIEWER, BLOCKS, BLOCKED)
# Nothing at all, whether the user is online, and when he was as well.
NOTHING, STATE, TIME = "nothing", "state", "time"


@dataclass(frozen=True, slots=True)
class Shown:
    """A user with these settings and this relation to the viewer, who is online, or was."""

    device: RawDevice
    online: presence_pb2.Audience.ValueType
    last_seen: presence_pb2.Audience.ValueType
    relation: str
    is_online: bool

    def expected(self, viewer: tuple[presence_pb2.Audience.ValueType, presence_pb2.Audience.ValueType]) -> str:
        """Return what a viewer with these settings of his own sees, as the contract has it."""
        if self.relation in (BLOCKS, BLOCKED) or not self._reaches(viewer[0], self.online):
            return NOTHING
        if self.is_online:
            return STATE
        return TIME if self._reaches(viewer[1], self.last_seen) else NOTHING

    def _reaches(self, own: presence_pb2.Audience.ValueType, audience: presence_pb2.Audience.ValueType) -> bool:
        return own != NOBODY and (audience == EVERYONE or (audience == ACQUAINTED and self.relation == KNOWS_VIEWER))


async def make_shown(world: World, viewer: RawDevice) -> list[Shown]:
    """Return a user for every combination, in the state that it names."""
    table = list(product(AUDIENCES, AUDIENCES, RELATIONS, (True, False)))
    devices = [await world.user("shown") for _ in table]
    shown = [Shown(device, *row) for device, row in zip(devices, table, strict=True)]
    await asyncio.gather(*(_prepare(each, viewer) for each in shown))
    for each in shown:
        if not each.is_online:
            await each.device.close()
    for each in shown:
        if not each.is_online:
            await eventually(lambda each=each: _was_seen(each.device))  # type: ignore[misc]
    return shown


async def _prepare(user: Shown, viewer: RawDevice) -> None:
    await show(user.device, online=user.online, last_seen=user.last_seen)
    if user.relation == KNOWS_VIEWER:
        await user.device.direct(viewer)
    elif user.relation == KNOWN_BY_VIEWER:
        await viewer.direct(user.device)
    elif user.relation == BLOCKS:
        # A block outweighs all else.
        await user.device.direct(viewer)
        await user.device.call(account_pb2.BlockUserRequest(user_id=viewer.user_id))
    elif user.relation == BLOCKED:
        await user.device.direct(viewer)
        await viewer.call(account_pb2.BlockUserRequest(user_id=user.device.user_id))
    await user.device.connect()


async def _was_seen(device: RawDevice) -> bool:
    found = await device.call(presence_pb2.GetPresenceRequest(user_ids=[device.user_id]))
    return bool(found.presences[0].HasField("last_seen_time"))


def seen(presence: AnyPresence) -> str:
    state, has_time = NAMES[presence.state], presence.HasField("last_seen_time")
    assert state in (ONLINE, OFFLINE)
    assert not (state == ONLINE and has_time)
    return STATE if state == ONLINE else TIME if has_time else NOTHING


def differences(shown: Sequence[Shown], presences: dict[str, AnyPresence], *viewer: int) -> list[str]:
    """Return what is not as the contract has it."""
    settings = tuple(map(presence_pb2.Audience.ValueType, viewer))
    found = [(each, seen(presences[each.device.user_id]), each.expected(settings)) for each in shown]  # type: ignore[arg-type]
    return [f"{each} is seen as {is_seen}, not {expected}" for each, is_seen, expected in found if is_seen != expected]


async def test_every_visibility_and_relation_is_seen_alike_by_every_call(world: World) -> None:
    viewer = await world.user("viewer")
    tablet = await world.add_device(viewer)
    shown = await make_shown(world, viewer)
    async with beating([viewer, *(each.device for each in shown)]):
        await viewer.connect()
        users = [each.device for each in shown]
        watcher = StreamWatcher(viewer)
        await watcher.watch(*users)
        direct = await DirectWatcher.open(world, tablet, *users)
        for own in product(AUDIENCES, AUDIENCES):
            await show(viewer, online=own[0], last_seen=own[1])
            for watch in (watcher, direct):
                await eventually(lambda watch=watch, own=own: _as_expected(shown, watch.presences, own))  # type: ignore[misc]
            found = await viewer.call(presence_pb2.GetPresenceRequest(user_ids=[each.user_id for each in users]))
            assert _as_expected(shown, {each.user_id: each for each in found.presences}, own)
            # A watch that begins now is told the same.
            fresh = await DirectWatcher.open(world, tablet, *users)
            assert _as_expected(shown, fresh.presences, own)
            await fresh.close()
            direct = await DirectWatcher.open(world, tablet, *users)
        await direct.close()


def _as_expected(shown: Sequence[Shown], presences: dict[str, AnyPresence], own: tuple[int, int]) -> bool:
    wrong = differences(shown, presences, *own)
    assert not wrong, "\n".join(wrong[:5])
    return True


async def test_own_presence_is_seen_whatever_is_shown(world: World) -> None:
    phone = await world.user("alice")
    tablet = await world.add_device(phone)
    await show(phone, online=NOBODY, last_seen=NOBODY)
    await phone.connect()
    await wait_present(phone)
    direct = await DirectWatcher.open(world, tablet, phone)
    assert direct.state(phone) == ONLINE
    await phone.close()
    await direct.wait_state(phone, OFFLINE)
    assert direct.presences[phone.user_id].HasField("last_seen_time")
    await direct.close()
