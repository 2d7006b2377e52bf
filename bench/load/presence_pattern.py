"""The pattern of presence: devices that watch each other, and move between foreground and background."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from bench.load.counters import LoadCounters
from bench.load.device import Device
from parley.chat.v1 import chat_pb2
from parley.presence.v1.presence_pb2 import PresenceState

MAX_CONCURRENT_WATCHES: Final = 100
# Devices in the foreground are heard at this interval, as `welcome` asks.
HEARTBEAT_INTERVAL_S: Final = 4.0
STEP_S: Final = 0.01

_STATES: Final = {
    PresenceState.PRESENCE_STATE_ONLINE: chat_pb2.ACTIVITY_FOREGROUND,
    PresenceState.PRESENCE_STATE_BACKGROUND: chat_pb2.ACTIVITY_BACKGROUND,
}
_HEARTBEAT: Final = chat_pb2.ConnectRequest(heartbeat=chat_pb2.HeartbeatRequest()).SerializeToString()
_CHANGES: Final = {
    activity: chat_pb2.ConnectRequest(heartbeat=chat_pb2.HeartbeatRequest(activity=activity)).SerializeToString()
    for activity in _STATES.values()
}


class PresencePattern:
    """Devices with one user each. Half of them are in the background, the others send heartbeats.

    The counters count changes as `sent`, the changes that watchers are told as `delivered` with their latency, or as
    `outdated` if the user is in another state by then, and the answers to heartbeats as `answered`.
    """

    def __init__(self, devices: Sequence[Device], counters: LoadCounters) -> None:
        self._devices = devices
        self._counters = counters
        # By user: the activity of the device, and the time of its last change in ns.
        self._activities = {device.user_id: (chat_pb2.ACTIVITY_FOREGROUND, 0) for device in devices}

    async def watch(self, watched: Sequence[Sequence[int]]) -> None:
        """Make each device watch the users of these devices, and move half of all to the background.

        Return once all watchers are told of that.
        """
        semaphore = asyncio.Semaphore(MAX_CONCURRENT_WATCHES)

        async def watch_users(device: Device, user_ids: list[str]) -> None:
            async with semaphore:
                answered = asyncio.Event()
                device.on_presence = lambda _: answered.set()
                request = chat_pb2.WatchPresenceRequest(user_ids=user_ids)
                device.send_frame(chat_pb2.ConnectRequest(watch_presence=request).SerializeToString())
                await answered.wait()

        watches = [[self._devices[number].user_id for number in numbers] for numbers in watched]
        await asyncio.gather(*map(watch_users, self._devices, watches))
        moving = self._devices[::2]
        told = self._expect_background({device.user_id for device in moving}, watches)
        for device in moving:
            self._change_activity(device)
        await told.wait()

    def _expect_background(self, moving: set[str], watches: Sequence[Sequence[str]]) -> asyncio.Event:
        """Return an event that is set once each device is told that those of its users are in the background."""
        untold = {
            (device, user_id)
            for device, user_ids in zip(self._devices, watches, strict=True)
            for user_id in user_ids
            if user_id in moving
        }
        all_told = asyncio.Event()

        def note(device: Device, presence: chat_pb2.Presence) -> None:
            for user in presence.users:
                if user.state == PresenceState.PRESENCE_STATE_BACKGROUND:
                    untold.discard((device, user.user_id))
            if not untold:
                all_told.set()

        for device in self._devices:
            device.on_presence = partial(note, device)
        return all_told

    async def send_heartbeats(self) -> None:
        """Send heartbeats from the devices in the foreground, until cancelled."""
        await self._call_in_turn(HEARTBEAT_INTERVAL_S, self._send_heartbeat)

    async def change_activities(self, interval_s: float) -> None:
        """Change the activity of each device once in `interval_s`, until cancelled, and count from now on."""
        for device in self._devices:
            device.on_presence, device.on_heartbeat = self._count_changes, self._count_heartbeat
        await self._call_in_turn(interval_s, self._change_activity)

    async def _call_in_turn(self, interval_s: float, call: Callable[[Device], None]) -> None:
        began, done, count = time.monotonic(), 0, len(self._devices)
        while True:
            await asyncio.sleep(STEP_S)
            due = int((time.monotonic() - began) / interval_s * count)
            for number in range(done, due):
                call(self._devices[number % count])
            done = due

    def _send_heartbeat(self, device: Device) -> None:
        if self._activities[device.user_id][0] == chat_pb2.ACTIVITY_FOREGROUND:
            device.send_frame(_HEARTBEAT)

    def _change_activity(self, device: Device) -> None:
        in_foreground = self._activities[device.user_id][0] == chat_pb2.ACTIVITY_FOREGROUND
        activity = chat_pb2.ACTIVITY_BACKGROUND if in_foreground else chat_pb2.ACTIVITY_FOREGROUND
        self._activities[device.user_id] = activity, time.monotonic_ns()
        device.send_frame(_CHANGES[activity])
        self._counters.sent += 1

    def _count_heartbeat(self) -> None:
        self._counters.answered += 1

    def _count_changes(self, presence: chat_pb2.Presence) -> None:
        now = time.monotonic_ns()
        for user in presence.users:
            activity, changed_at = self._activities[user.user_id]
            if _STATES.get(user.state) == activity:
                self._counters.delivered += 1
                self._counters.latencies.append((now - changed_at) // 1000)
            else:
                self._counters.outdated += 1
