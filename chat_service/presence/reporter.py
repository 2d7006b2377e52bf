"""The report of this server to presence_service, kept open at one presence server or another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

import grpc
import structlog
from prometheus_client import Counter, Gauge

from chat_service.presence.edge_state import EdgeState
from chat_service.presence.frame_reader import FrameReader
from parley.internal.v1.presence_report_pb2 import ReportRequest, ReportResponse
from parley.internal.v1.presence_report_pb2_grpc import PresenceReportServiceStub
from servicekit.auth import ServiceCredential
from servicekit.clock import Clock
from servicekit.ring import RingMember
from servicekit.ring_watcher import RingWatcher
from servicekit.tasks import Backoff, cancel_requested
from servicekit.transport import PLAIN_TEXT, Transport

SERVICE: Final = "presence"
# The presence server waits for a moment before it takes the end of the frames for a goodbye.
GOODBYE_TIMEOUT_S: Final = 3.0
FIRST_PAUSE_S: Final = 0.05
MAX_PAUSE_S: Final = 1.0
DEFAULT_RENEW_S: Final = 2.0
# Changes are told at this interval at most, all that came meanwhile in one frame.
TELL_INTERVAL_S: Final = 0.1
OPTIONS: Final = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)
STREAM_ERRORS: Final = (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError, TimeoutError)

OnPresences = Callable[[ReportResponse.Presences], None]
"""Takes the presence of the users that devices watch."""

_connected = Gauge("parley_presence_report_connected", "1 while this server reports to presence_service")
_ended = Counter("parley_presence_reports_ended", "Reports to presence_service that ended before the drain")

log = structlog.get_logger("presence.reporter")


class PresenceReporter:
    """Reports `state` to one presence server at a time. `run` keeps the report open.

    `on_presences` is set before `run` is started.
    """

    def __init__(
        self,
        servers: RingWatcher,
        credential: ServiceCredential,
        server_id: str,
        incarnation: int,
        clock: Clock,
        transport: Transport = PLAIN_TEXT,
    ) -> None:
        self._servers = servers
        self._credential = credential
        self._server_id = server_id
        self._incarnation = incarnation
        self._clock = clock
        self._transport = transport
        self.state = EdgeState(clock)
        self.on_presences: OnPresences = lambda _: None
        self._stopping = False

    async def run(self) -> None:
        """Report until cancelled, to another server whenever one does not answer; then say goodbye."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._servers.run())
            reporting = group.create_task(self._keep_reporting())
            try:
                await asyncio.wait([reporting])
            finally:
                # The cancellation of a read would end the report before the goodbye.
                self._stopping = True
                self.state.changed.set()
                await asyncio.wait([reporting], timeout=GOODBYE_TIMEOUT_S)

    async def _keep_reporting(self) -> None:
        backoff, left = Backoff(FIRST_PAUSE_S, MAX_PAUSE_S), ""
        while not (self._stopping or cancel_requested()):
            member = self._choose_server(left)
            if member is not None:
                try:
                    await self._report_to(member, backoff.reset)
                except* STREAM_ERRORS as errors:
                    _ended.inc()
                    log.info("report closed", server=member.server_id, error=str(errors.exceptions[0])[:200])
                left = member.server_id
            await asyncio.sleep(backoff.next())

    def _choose_server(self, left: str) -> RingMember | None:
        """Return a random server, another one than that which was left last if there is one."""
        members = list(self._servers.ring.members.values())
        others = [member for member in members if member.server_id != left] or members
        return random.choice(others) if others else None  # noqa: S311  not for cryptography

    async def _report_to(self, member: RingMember, on_answer: Callable[[], None]) -> None:
        """Report to a server until it ends the report, drains, or does not answer. Raise an error of STREAM_ERRORS."""
        async with self._transport.open_channel(SERVICE, member.internal_address, OPTIONS) as channel:
            call: Any = PresenceReportServiceStub(channel).Report(metadata=self._credential.metadata())
            frames = FrameReader(call, self._clock)
            async with asyncio.TaskGroup() as group:
                hello = ReportRequest.Hello(server_id=self._server_id, incarnation=self._incarnation)
                group.create_task(call.write(ReportRequest(hello=hello)))
                welcome = await frames.read()
            if welcome is grpc.aio.EOF or not welcome.HasField("welcome"):
                return
            log.info("report opened", server=member.server_id)
            _connected.set(1)
            try:
                renew_s = welcome.welcome.renew_interval.ToTimedelta().total_seconds() or DEFAULT_RENEW_S
                async with asyncio.TaskGroup() as group:
                    writer = group.create_task(self._write(call, renew_s))
                    await self._read(frames, on_answer)
                    writer.cancel()
            finally:
                self.state.end_report()
                _connected.set(0)

    async def _read(self, frames: FrameReader, on_answer: Callable[[], None]) -> None:
        """Take what the server tells until it drains or ends the report. Raise TimeoutError if it is silent."""
        while (frame := await frames.read()) is not grpc.aio.EOF:
            if frame.HasField("presences"):
                self.on_presences(frame.presences)
            elif frame.HasField("acknowledgement"):
                self.state.acknowledge(frame.acknowledgement.report_seq)
                on_answer()
            elif frame.HasField("drain"):
                return

    async def _write(self, call: Any, renew_s: float) -> None:
        """Tell all devices and watches, then what changes; renew the lease at its interval."""
        for frame in self.state.start_report():
            await call.write(frame)
        renewed_at, told_at = self._clock.monotonic(), float("-inf")
        while not self._stopping:
            wait_s = renewed_at + renew_s - self._clock.monotonic()
            if wait_s <= 0:
                await call.write(ReportRequest(renew=ReportRequest.Renew()))
                renewed_at = self._clock.monotonic()
                continue
            try:
                async with asyncio.timeout(wait_s):
                    await self.state.changed.wait()
            except TimeoutError:
                continue
            await self._clock.sleep(max(0.0, told_at + TELL_INTERVAL_S - self._clock.monotonic()))
            told_at = self._clock.monotonic()
            for frame in self.state.take_changes():
                await call.write(frame)
        await call.done_writing()
