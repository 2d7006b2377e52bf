"""Presence in tests: users show it, watchers watch, and are told states."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import grpc

from parley.chat.v1 import chat_pb2
from parley.presence.v1 import presence_pb2
from parley.presence.v1.presence_pb2 import PresenceState
from tests.eventually import eventually
from tests.raw.device import RawDevice

ONLINE, BACKGROUND, OFFLINE = "online", "background", "offline"
NAMES = {
    PresenceState.PRESENCE_STATE_ONLINE: ONLINE,
    PresenceState.PRESENCE_STATE_BACKGROUND: BACKGROUND,
    PresenceState.PRESENCE_STATE_OFFLINE: OFFLINE,
}

EVERYONE = presence_pb2.AUDIENCE_EVERYONE
ACQUAINTED = presence_pb2.AUDIENCE_ACQUAINTED
NOBODY = presence_pb2.AUDIENCE_NOBODY


async def show(
    *devices: RawDevice,
    online: presence_pb2.Audience.ValueType = EVERYONE,
    last_seen: presence_pb2.Audience.ValueType = EVERYONE,
) -> None:
    """Let these users show their presence to an audience, by default to everyone."""
    visibility = presence_pb2.Visibility(online=online, last_seen=last_seen)
    for device in devices:
        await device.call(presence_pb2.SetVisibilityRequest(visibility=visibility))


async def watch(device: RawDevice, *users: RawDevice) -> dict[str, str]:
    """Watch users over the stream of a device, and return the state of each, by user id."""
    request = chat_pb2.WatchPresenceRequest(user_ids=[each.user_id for each in users])
    await device.stream.send_frame(watch_presence=request)
    return await told(device)


async def told(device: RawDevice, timeout: float = 10.0) -> dict[str, str]:
    """Return the states in the next presence frame of a device, by user id."""
    return states((await device.stream.next_frame("presence", timeout)).users)


def states(presences: Iterable[chat_pb2.UserPresence | presence_pb2.Presence]) -> dict[str, str]:
    """Return the states of users by id."""
    return {each.user_id: NAMES[each.state] for each in presences}


async def wait_present(*devices: RawDevice, state: str = ONLINE) -> None:
    """Wait until the presence service knows the state of these users. They always see their own presence."""

    async def is_present(device: RawDevice) -> bool:
        request = presence_pb2.GetPresenceRequest(user_ids=[device.user_id])
        try:
            response = await device.call(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return states(response.presences) == {device.user_id: state}

    for device in devices:
        await eventually(partial(is_present, device))
