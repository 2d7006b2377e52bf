"""Watchers of presence, which record what they are told and when, and devices that beat as an app does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc

from parley.chat.v1 import chat_pb2
from parley.presence.v1 import presence_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.presence import NAMES, OFFLINE
from tests.raw.refusal import Refusal, of_error
from tests.raw.stream import StreamEnded
from tests.raw.world import World

# A foreground device beats more often than the 10 s after which it is silent.
BEAT_S = 2.5
DIRECT = "/parley.presence.v1.PresenceService/WatchPresence"

AnyPresence = chat_pb2.UserPresence | presence_pb2.Presence


@dataclass(frozen=True, slots=True)
class Told:
    """A state of a user that a watcher was told, at a moment of the monotonic clock."""

    at: float
    user_id: str
    state: str


class Watcher:
    """The presence that one device knows of the users it watches.

    `presences` has the newest of each user, `history` everything in order, `frames` the number of frames.
    """

    def __init__(self) -> None:
        self.presences: dict[str, AnyPresence] = {}
        self.history: list[Told] = []
        self.frames = 0

    def record(self, presences: Iterable[AnyPresence]) -> None:
        """Take the presences of a frame."""
        now = time.monotonic()
        self.frames += 1
        for each in presences:
            self.presences[each.user_id] = each
            self.history.append(Told(now, each.user_id, NAMES[each.state]))

    def state(self, user: RawDevice) -> str:
        """Return the newest state of a user, empty if none is known."""
        known = self.presences.get(user.user_id)
        return NAMES[known.state] if known is not None else ""

    def states(self, users: Iterable[RawDevice]) -> list[str]:
        """Return the newest states of users."""
        return [self.state(user) for user in users]

    def told(self, user: RawDevice) -> list[str]:
        """Return all states that were told of a user, in order."""
        return [each.state for each in self.history if each.user_id == user.user_id]

    async def wait_state(self, user: RawDevice, state: str, timeout: float = 10.0) -> float:
        """Wait until a user has a state; return when the watcher was told so."""
        try:
            await eventually(lambda: self.state(user) == state, timeout)
        except AssertionError:
            raise AssertionError(f"not {state} within {timeout} s, but told {self.told(user)}") from None
        return max(each.at for each in self.history if each.user_id == user.user_id)

    def told_offline(self, users: Iterable[RawDevice]) -> set[str]:
        """Return those of these users who were ever told to be offline."""
        ids = {user.user_id for user in users}
        return {each.user_id for each in self.history if each.state == OFFLINE and each.user_id in ids}


class StreamWatcher(Watcher):
    """A watcher over the `Connect` stream of a device."""

    def __init__(self, device: RawDevice) -> None:
        super().__init__()
        self.device = device
        device.on_presence = lambda frame: self.record(frame.users)

    async def watch(self, *users: RawDevice, timeout: float = 10.0) -> list[str]:
        """Watch exactly these users; return the state of each."""
        self.presences.clear()
        request = chat_pb2.WatchPresenceRequest(user_ids=[each.user_id for each in users])
        await self.device.stream.send_frame(watch_presence=request)
        await eventually(lambda: len(self.presences) == len(users), timeout)
        return self.states(users)


class DirectWatcher(Watcher):
    """A watcher by the call `WatchPresence` of the presence service; `kinds` are those of all its frames."""

    def __init__(self, device: RawDevice, channel: grpc.aio.Channel, users: Sequence[RawDevice]) -> None:
        super().__init__()
        self.kinds: list[str] = []
        self.snapshot: presence_pb2.WatchPresenceResponse.Snapshot | None = None
        self.end: Refusal | None = None
        request = presence_pb2.WatchPresenceRequest(user_ids=[each.user_id for each in users])
        method: Any = channel.unary_stream(DIRECT, response_deserializer=presence_pb2.WatchPresenceResponse.FromString)
        self._call = method(request.SerializeToString(), metadata=device.metadata)
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, world: World, device: RawDevice, *users: RawDevice, at: str = "") -> DirectWatcher:
        """Watch through the door, or at one presence server, and wait for the snapshot."""
        watcher = cls(device, world.channel(at or world.stack.door), users)
        await eventually(lambda: watcher.snapshot or watcher.end)
        assert watcher.snapshot is not None, f"the watch ended with {watcher.end}"
        return watcher

    async def _read(self) -> None:
        try:
            async for frame in self._call:
                kind = frame.WhichOneof("frame")
                if kind == "snapshot":
                    self.snapshot = frame.snapshot
                    self.record(frame.snapshot.presences)
                elif kind == "changes":
                    self.record(frame.changes.presences)
                self.kinds.append(kind)
            self.end = Refusal("OK")
        except grpc.aio.AioRpcError as error:
            self.end = of_error(error)
        except asyncio.CancelledError:
            if not self._call.cancelled():
                raise
            self.end = Refusal("CANCELLED")

    async def wait_ended(self, timeout: float = 10.0) -> Refusal:
        """Wait for the end of the watch, and return it."""
        await eventually(lambda: self.end, timeout)
        assert self.end is not None
        return self.end

    async def close(self) -> None:
        """Cancel the call."""
        self._call.cancel()
        # As of `RawStream.close`.
        await asyncio.wait([self._reading])
        if not self._reading.cancelled():
            self._reading.result()


@asynccontextmanager
async def beating(devices: Sequence[RawDevice], every_s: float = BEAT_S) -> AsyncIterator[None]:
    """Let the open streams of these devices send heartbeats; the sequence may change meanwhile."""

    async def beat() -> None:
        while True:
            for device in list(devices):
                if device.connected:
                    with suppress(StreamEnded):
                        await device.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest())
            await asyncio.sleep(every_s)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
