"""One report: the stream of a chat server that tells its devices, and is told the presence that they watch."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import Counter, Gauge

from parley.internal.v1.presence_report_pb2 import ReportRequest, ReportResponse
from presence_service.model.leases import LEASE_MS, RENEW_INTERVAL_S
from presence_service.model.ports import PresenceStore
from presence_service.model.presence import Presence, StreamState, Transition
from presence_service.reports.last_seen_writer import LastSeenWriter
from presence_service.reports.lease_watch import end_streams
from presence_service.watching.channels import PublishPermissions
from presence_service.watching.watches import Watch, Watches
from presence_service.wire.presence import decode_transition, encode_presence, encode_presences
from servicekit import validation
from servicekit.clock import Clock
from servicekit.durations import to_duration
from servicekit.errors import (
    FrameEmpty,
    HelloMissing,
    HelloRepeated,
    Invalid,
    ServerDraining,
    SessionSuperseded,
    StoreUnavailable,
)
from servicekit.failure import Failure
from servicekit.outbox import Outbox, SlowConsumerDetector
from servicekit.proto_fields import encode_bytes_field, encode_repeated_field
from servicekit.rpc import ByteStream
from servicekit.tasks import cancel_requested

# A chat server that does not read has this much queued at most; it reads within this time, or its report ends.
MAX_QUEUED_BYTES: Final = 16 * 1024 * 1024
# Transitions that are stored in one round trip; the lease is renewed between two.
APPLY_BATCH: Final = 500
# A lease is renewed in the store at most so often, whatever the number of frames.
STORE_RENEW_INTERVAL_S: Final = 1.0
# An open session is stored once in this time at most, which is shorter than the store keeps it.
KNOWN_S: Final = 86_400.0
# While frames come, or one is being stored, the chat server gets an answer at this interval at least: many watches, or
# a large snapshot, must not look like silence.
ANSWER_INTERVAL_S: Final = 1.0
# A watch whose permissions could not be decided is tried again after this time.
RETRY_INTERVAL_S: Final = 1.0
DISCONNECT_WAIT_S: Final = 1.0

_PRESENCES: Final[int] = ReportResponse.DESCRIPTOR.fields_by_name["presences"].number
_DEVICES: Final[int] = ReportResponse.Presences.DESCRIPTOR.fields_by_name["devices"].number
_CHANGES: Final[int] = ReportResponse.Presences.DESCRIPTOR.fields_by_name["changes"].number

_reports = Gauge("parley_presence_reports", "Reports of chat servers at this presence server")
_transitions = Counter("parley_presence_transitions", "Transitions that were reported")

log = structlog.get_logger("report")


@dataclass(frozen=True, slots=True)
class ReportDependencies:
    """The dependencies that all reports of a server share."""

    store: PresenceStore
    watches: Watches
    last_seen: LastSeenWriter
    publish_relation: PublishPermissions
    clock: Clock


class Report:
    """The report of one incarnation of a chat server."""

    def __init__(self, stream: ByteStream, uses: ReportDependencies) -> None:
        self._stream = stream
        self._store = uses.store
        self._watches = uses.watches
        self._last_seen = uses.last_seen
        self._publish_relation = uses.publish_relation
        self._clock = uses.clock
        self.outbox = Outbox(MAX_QUEUED_BYTES, _join_presences)
        self._slow = SlowConsumerDetector(self.outbox, "", LEASE_MS / 1000, uses.clock.call_later)
        self._report_id = uuid.uuid4().hex
        self._server_id = ""
        self._incarnation = 0
        # Of the lease.
        self._number = 0
        self._report_seq = 0
        self._renewed_at = float("-inf")
        # A frame came after the last acknowledgement; a frame is being handled.
        self._unanswered = self._handling = False
        # The sessions that this report has stored as open, and the time of the first.
        self._open_sessions = set[str]()
        self._known_since = float("-inf")
        # The sessions of the snapshot so far; None once it is complete.
        self._snapshot: set[str] | None = set()
        self._by_device: dict[str, Watch] = {}
        # Changes to tell at the end of this turn of the loop, with the devices that are told the same.
        self._changes: dict[tuple[str, Presence], list[str]] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Serve the report until the chat server half-closes it. Raise the Failure that ends it before."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                writer = self._tasks.create_task(self._write_frames())
                reader = self._tasks.create_task(self._read_frames())
                answering = self._tasks.create_task(self._keep_answering())
                await asyncio.wait([writer, reader], return_when=asyncio.FIRST_COMPLETED)
                self.outbox.close(None)
                await writer
                reader.cancel()
                answering.cancel()
                for task in self._starting.values():
                    task.cancel()
        finally:
            for watch in self._by_device.values():
                self._watches.end(watch)
        if self.outbox.failure is not None:
            raise self.outbox.failure

    async def _write_frames(self) -> None:
        while (frame := await self.outbox.dequeue()) is not None:
            await self._stream.write(frame)

    async def _read_frames(self) -> None:
        await self._open(await self._read_frame())
        while (frame := await self._read_frame()) is not None:
            self._unanswered = self._handling = True
            await self._handle(frame)
            self._handling = False
        # A lost connection may look like the end of the frames for a moment, before this call is cancelled.
        await self._clock.sleep(DISCONNECT_WAIT_S)
        # The chat server is stopping: its streams are closed, with the usual grace.
        if await self._store.claim_end(self._server_id, self._incarnation, self._report_id):
            await self._close_streams(self._incarnation, self._number)
            await self._store.remove_lease(self._server_id, self._incarnation)

    async def _keep_answering(self) -> None:
        """Answer frames that have no answer of their own, and those that take long."""
        while not cancel_requested():
            await self._clock.sleep(ANSWER_INTERVAL_S)
            if self._unanswered or self._handling:
                self._acknowledge()

    async def _read_frame(self) -> ReportRequest | None:
        data = await self._stream.read()
        if data is None:
            return None
        frame = validation.parse(ReportRequest, data)
        if frame.WhichOneof("frame") is None:
            raise FrameEmpty("the frame is empty, or of a kind that this server does not know")
        validation.check(frame)
        return frame

    async def _open(self, frame: ReportRequest | None) -> None:
        if frame is None or not frame.HasField("hello"):
            raise HelloMissing("the first frame must be hello")
        self._server_id, self._incarnation = frame.hello.server_id, frame.hello.incarnation
        before = await self._store.find_lease(self._server_id)
        if before is not None and before.incarnation != self._incarnation:
            # The server was restarted. As long as it has no new lease, this is repeated after a failure.
            await self._close_streams(before.incarnation, before.number)
        self._number = await self._store.open_lease(self._server_id, self._incarnation, self._report_id)
        self._renewed_at = self._clock.monotonic()
        welcome = ReportResponse.Welcome(
            renew_interval=to_duration(RENEW_INTERVAL_S), lease_duration=to_duration(LEASE_MS / 1000)
        )
        self._put(ReportResponse(welcome=welcome))
        log.info("report opened", server_id=self._server_id, incarnation=self._incarnation)

    async def _handle(self, frame: ReportRequest) -> None:
        await self._renew()
        kind = frame.WhichOneof("frame")
        if kind == "transitions":
            await self._apply([decode_transition(each) for each in frame.transitions.transitions])
            self._report_seq = frame.transitions.report_seq
            self._acknowledge()
        elif kind == "renew":
            # It shows the chat server that this one is alive.
            self._acknowledge()
        elif kind == "snapshot":
            await self._take_snapshot(frame.snapshot)
        elif kind == "watch":
            self._replace_watch(frame.watch)
        elif kind == "relation_changed":
            await self._publish_relation(frame.relation_changed.user_id, frame.relation_changed.other_user_id)
            self._report_seq = frame.relation_changed.report_seq
            self._acknowledge()
        elif kind == "hello":
            raise HelloRepeated("hello must be sent once, as the first frame")

    async def _renew(self) -> None:
        now = self._clock.monotonic()
        if now - self._renewed_at < STORE_RENEW_INTERVAL_S:
            return
        if not await self._store.renew_lease(self._server_id, self._report_id):
            raise SessionSuperseded("the lease of this server ended, or another report has it; connect again")
        self._renewed_at = now

    async def _take_snapshot(self, page: ReportRequest.Snapshot) -> None:
        if self._snapshot is None:
            raise Invalid("snapshot: the last page was already received")
        transitions = [decode_transition(each) for each in page.devices]
        await self._apply(transitions)
        self._snapshot.update(each.session_id for each in transitions)
        if page.last:
            known = await self._store.find_sessions(self._server_id, self._incarnation)
            gone = [
                Transition(user_id, session_id, StreamState.CLOSED)
                for session_id, user_id in known.items()
                if session_id not in self._snapshot
            ]
            await self._apply(gone)
            await self._store.complete_lease(self._server_id, self._number)
            self._snapshot = None
        self._acknowledge()

    async def _apply(self, transitions: Sequence[Transition]) -> None:
        for start in range(0, len(transitions), APPLY_BATCH):
            await self._renew()
            batch = transitions[start : start + APPLY_BATCH]
            known = self._known_sessions()
            await self._store.apply(self._server_id, self._incarnation, self._number, batch, known)
            for each in batch:
                (known.add if each.state.is_open else known.discard)(each.session_id)
        _transitions.inc(len(transitions))
        away = [each.user_id for each in transitions if each.state is not StreamState.FOREGROUND]
        self._last_seen.note(away)

    def _known_sessions(self) -> set[str]:
        """Return the sessions that need not be stored again."""
        now = self._clock.monotonic()
        if now - self._known_since >= KNOWN_S:
            self._known_since, self._open_sessions = now, set()
        return self._open_sessions

    async def _close_streams(self, incarnation: int, number: int) -> None:
        closed = await end_streams(self._store, self._server_id, incarnation, number, StreamState.CLOSED)
        self._last_seen.note(closed)

    def _replace_watch(self, request: ReportRequest.Watch) -> None:
        """Replace the watch of a device; the presence of all watched users follows."""
        if (starting := self._starting.pop(request.device_id, None)) is not None:
            starting.cancel()
        if (before := self._by_device.pop(request.device_id, None)) is not None:
            self._watches.end(before)
        if request.watched_user_ids:
            self._starting[request.device_id] = self._tasks.create_task(self._start_watch(request))

    async def _start_watch(self, request: ReportRequest.Watch) -> None:
        user_id, device_id, watched = request.user_id, request.device_id, list(request.watched_user_ids)

        def tell(presences: Sequence[tuple[str, Presence]]) -> None:
            if not self._changes:
                asyncio.get_running_loop().call_soon(self._tell_changes)
            for change in presences:
                self._changes.setdefault(change, []).append(device_id)

        started = None
        while started is None:
            try:
                started = await self._watches.start(user_id, watched, tell)
            except Failure as failure:
                # One watch that cannot begin does not end the report.
                log.info("watch start failed, retrying", error=failure.message)
                await self._clock.sleep(RETRY_INTERVAL_S)
        del self._starting[device_id]
        self._by_device[device_id], presences = started
        # What a watch before this one was to be told is older.
        self._tell_changes()
        told = encode_presences(zip(watched, presences, strict=True))
        device = ReportResponse.DevicePresences(user_id=user_id, device_id=device_id, presences=told)
        self.outbox.put(_DEVICES, device.SerializeToString())

    def _tell_changes(self) -> None:
        """Tell each change once, with all devices that may see the same of it."""
        changes, self._changes = self._changes, {}
        for (user_id, presence), device_ids in changes.items():
            change = ReportResponse.Change(presence=encode_presence(user_id, presence), device_ids=device_ids)
            self.outbox.put(_CHANGES, change.SerializeToString())
        if self.outbox.full:
            self._slow.on_overflow()

    def _acknowledge(self) -> None:
        self._unanswered = False
        self._put(ReportResponse(acknowledgement=ReportResponse.Acknowledgement(report_seq=self._report_seq)))

    def _put(self, frame: ReportResponse) -> None:
        self.outbox.put_frame(frame.SerializeToString())


class Reports:
    """The reports of this server."""

    def __init__(self, uses: ReportDependencies) -> None:
        self._uses = uses
        self._open: set[Report] = set()
        self._draining = False

    async def serve(self, stream: ByteStream) -> None:
        """Serve a report until its end. Raise the Failure that ends it."""
        if self._draining:
            raise ServerDraining("the server is shutting down; report to another one")
        report = Report(stream, self._uses)
        self._open.add(report)
        _reports.inc()
        try:
            await report.run()
        finally:
            self._open.discard(report)
            _reports.dec()

    def end_all(self) -> None:
        """End all reports, because the store lost what they told; the chat servers connect again and tell all."""
        for report in self._open:
            report.outbox.close(StoreUnavailable("presence was lost; open a new report", retry_after=0.05))

    async def run(self) -> None:
        """Wait for the drain, then ask the chat servers to go to another server."""
        try:
            await asyncio.Event().wait()
        finally:
            self._draining = True
            for report in self._open:
                report.outbox.put_frame(_drain())


def _join_presences(field: int, elements: Sequence[bytes]) -> bytes:
    """Return a frame with these elements of a field of Presences."""
    return encode_bytes_field(_PRESENCES, encode_repeated_field(field, elements))


def _drain() -> bytes:
    return ReportResponse(drain=ReportResponse.Drain()).SerializeToString()
