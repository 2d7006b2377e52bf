"""Reports of chat servers as a presence server in memory takes them, frame by frame."""

from __future__ import annotations

import asyncio

from parley.internal.v1.presence_report_pb2 import DeviceState, ReportRequest, ReportResponse
from parley.internal.v1.presence_report_pb2 import Transition as ReportedTransition
from presence_service.reports.last_seen_writer import LastSeenWriter
from presence_service.reports.report import ReportDependencies, Reports
from servicekit.failure import Failure
from tests.eventually import eventually, run_ready
from tests.unit.presence.conftest import WatchingServer

SERVER, INCARNATION = "chat-9:5101", 7
ALICE, BOB, CAROL, DEVICE = "a" * 32, "b" * 32, "c" * 32, "d" * 32
HELLO = ReportRequest(hello=ReportRequest.Hello(server_id=SERVER, incarnation=INCARNATION))


class ReportingStream:
    """A stream that a test writes to as a chat server does; an implementation of ByteStream. `written` has answers."""

    def __init__(self) -> None:
        self.written: list[ReportResponse] = []
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def read(self) -> bytes | None:
        return await self._frames.get()

    async def write(self, frame: bytes) -> None:
        self.written.append(ReportResponse.FromString(frame))

    def send(self, *frames: ReportRequest) -> None:
        """Send frames of the chat server."""
        for frame in frames:
            self._frames.put_nowait(frame.SerializeToString())

    def send_bytes(self, data: bytes) -> None:
        """Send a frame that need not be one."""
        self._frames.put_nowait(data)

    def half_close(self) -> None:
        """End the frames of the chat server."""
        self._frames.put_nowait(None)

    @property
    def acknowledged(self) -> list[int]:
        """Return what was acknowledged, in order."""
        return [each.acknowledgement.report_seq for each in self.written if each.HasField("acknowledgement")]

    def told(self) -> list[dict[str, int]]:
        """Return the presences of watched users that were told to each device whose watch began."""
        devices = [device for each in self.written for device in each.presences.devices]
        return [{each.user_id: each.state for each in device.presences} for device in devices]


class ReportedServer:
    """The reports of one presence server; `relations` has the changed relations that were published."""

    def __init__(self, server: WatchingServer) -> None:
        self.clock, self.store, self.server = server.clock, server.store, server
        self.relations: list[tuple[str, str]] = []
        self.writer = LastSeenWriter(self.store, server.times, self.clock)
        self.reports = Reports(
            ReportDependencies(self.store, server.watches, self.writer, self._on_relation, self.clock)
        )
        self.serving: list[asyncio.Task[None]] = []

    async def _on_relation(self, user_id: str, other_id: str) -> None:
        self.relations.append((user_id, other_id))

    async def open(self, *frames: ReportRequest) -> tuple[ReportingStream, asyncio.Task[None]]:
        """Begin a report with these frames; return its stream and its call."""
        stream = ReportingStream()
        stream.send(*frames)
        self.serving.append(asyncio.create_task(self.reports.serve(stream)))
        await run_ready()
        return stream, self.serving[-1]


def transition(user: str, session: str, state: DeviceState.ValueType) -> ReportedTransition:
    return ReportedTransition(user_id=user, device_id=DEVICE, session_id=session, state=state, sequence=1)


def opened(user: str, session: str) -> ReportedTransition:
    return transition(user, session, DeviceState.DEVICE_STATE_FOREGROUND)


def snapshot(*devices: ReportedTransition, last: bool = True) -> ReportRequest:
    return ReportRequest(snapshot=ReportRequest.Snapshot(devices=devices, last=last))


def transitions(seq: int, *changed: ReportedTransition) -> ReportRequest:
    return ReportRequest(transitions=ReportRequest.Transitions(report_seq=seq, transitions=changed))


def watch(*users: str) -> ReportRequest:
    return ReportRequest(watch=ReportRequest.Watch(user_id=ALICE, device_id=DEVICE, watched_user_ids=users))


def watch_of(device: int, *users: str) -> ReportRequest:
    """Return the watch of another device."""
    watch = ReportRequest.Watch(user_id=ALICE, device_id=f"{device:032x}", watched_user_ids=users)
    return ReportRequest(watch=watch)


async def reason_of(call: asyncio.Task[None]) -> str:
    """Return the reason of the failure that a call ends with."""
    await eventually(call.done)
    error: BaseException | None = call.exception()
    while isinstance(error, ExceptionGroup):
        [error] = error.exceptions
    assert isinstance(error, Failure), error
    return error.reason
