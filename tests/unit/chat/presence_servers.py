"""Presence servers that a test plays, and a reporter that finds them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import grpc

from chat_service.presence.reporter import PresenceReporter
from parley.internal.v1.presence_report_pb2 import ReportRequest, ReportResponse
from parley.internal.v1.presence_report_pb2_grpc import (
    PresenceReportServiceServicer,
    add_PresenceReportServiceServicer_to_server,
)
from servicekit.auth import ServiceCredential
from servicekit.etcd import Snapshot
from servicekit.member_record import MemberRecord
from servicekit.ring import RingMember
from servicekit.ring_watcher import RingWatcher, members_prefix
from tests.clock import ManualClock
from tests.eventually import run_ready


class PlayedPresenceServer(PresenceReportServiceServicer):
    """A presence server that welcomes reports while `welcomes` is set, and then says only what the test sends.

    `received` has the frames of all reports but `hello`, and `opened` the number of reports.
    """

    def __init__(self) -> None:
        self.received: list[ReportRequest] = []
        self.opened = 0
        self.welcomes = True
        self._context: Any = None

    async def Report(  # type: ignore[override]  # the generated type has the other one of grpc's two styles
        self, requests: AsyncIterator[ReportRequest], context: Any
    ) -> None:
        self.opened += 1
        self._context = context
        async for frame in requests:
            if not frame.HasField("hello"):
                self.received.append(frame)
            elif self.welcomes:
                await context.write(ReportResponse(welcome=ReportResponse.Welcome()))

    async def tell(self) -> None:
        """Send presences to the newest report."""
        await self._context.write(ReportResponse(presences=ReportResponse.Presences()))


class ReportedServers:
    """A reporter on a clock that tests advance, and the presence servers that it knows."""

    def __init__(self, servers: list[PlayedPresenceServer], reporter: PresenceReporter, clock: ManualClock) -> None:
        self.servers = servers
        self.reporter = reporter
        self.clock = clock
        self._told = 0
        reporter.on_presences = self._take_presences

    def _take_presences(self, _: ReportResponse.Presences) -> None:
        self._told += 1

    def has_told(self, count: int) -> bool:
        """Return True once the reporter has taken so many frames with presences."""
        return self._told >= count

    @property
    def reports(self) -> list[int]:
        """The number of reports that each server was opened."""
        return sorted(each.opened for each in self.servers)

    @property
    def first(self) -> PlayedPresenceServer:
        """The server that the first report went to."""
        [first] = [each for each in self.servers if each.opened]
        return first


@asynccontextmanager
async def reported_servers(count: int) -> AsyncIterator[ReportedServers]:
    """Run presence servers, and a reporter to them."""
    async with AsyncExitStack() as stack:
        servers = [PlayedPresenceServer() for _ in range(count)]
        addresses = [await stack.enter_async_context(_serve(each)) for each in servers]
        clock = ManualClock()
        watcher = RingWatcher(_ListedMembers(addresses), service="presence")  # type: ignore[arg-type]  # of etcd it watches
        reporter = PresenceReporter(watcher, ServiceCredential("x" * 43), "chat-1", 1, clock)
        reported = ReportedServers(servers, reporter, clock)
        running = asyncio.create_task(reporter.run())
        try:
            yield reported
        finally:
            running.cancel()
            await run_ready()
            # The last changes are told after a moment.
            clock.advance(1)
            with suppress(asyncio.CancelledError):
                await running


@asynccontextmanager
async def _serve(servicer: PlayedPresenceServer) -> AsyncIterator[str]:
    rpc = grpc.aio.server()
    add_PresenceReportServiceServicer_to_server(servicer, rpc)
    address = f"127.0.0.1:{rpc.add_insecure_port('127.0.0.1:0')}"
    await rpc.start()
    try:
        yield address
    finally:
        await rpc.stop(None)


class _ListedMembers:
    """The members of a service, which do not change."""

    def __init__(self, addresses: list[str]) -> None:
        records = [MemberRecord(RingMember(address, address, address, 1), 1) for address in addresses]
        self._values = {members_prefix("presence") + record.member.server_id: record.to_bytes() for record in records}

    async def watch_prefix(self, _: str) -> AsyncIterator[Snapshot]:
        yield Snapshot(1, self._values)
        await asyncio.Event().wait()
