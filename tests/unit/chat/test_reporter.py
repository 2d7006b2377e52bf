"""A chat server leaves a presence server that is silent, and no other one."""

from __future__ import annotations

from functools import partial

from chat_service.presence.frame_reader import SILENT_TICKS, TICK_S
from presence_service.model.leases import LEASE_MS, RENEW_INTERVAL_S
from tests.eventually import eventually, run_ready
from tests.unit.chat.presence_servers import ReportedServers, reported_servers

# Between the last renewal that was stored and the last answer.
UNSTORED_S = RENEW_INTERVAL_S + 1.0


async def pass_ticks(reported: ReportedServers, count: int, seconds: float = TICK_S) -> None:
    """Let ticks pass, each of which takes some seconds."""
    for _ in range(count):
        reported.clock.advance(seconds)
        await run_ready()


async def wait_reported(reported: ReportedServers) -> None:
    """Wait until the first report has told the snapshot."""
    await eventually(lambda: reported.reports[-1] and reported.first.received)
    await run_ready()


async def test_silent_server_is_left_for_another_one() -> None:
    async with reported_servers(2) as reported:
        await wait_reported(reported)
        await pass_ticks(reported, SILENT_TICKS - 1)
        assert reported.reports == [0, 1]
        await pass_ticks(reported, 1)
        await eventually(lambda: reported.reports == [1, 1])


def test_silence_ends_well_before_the_lease() -> None:
    assert SILENT_TICKS * TICK_S + UNSTORED_S <= LEASE_MS / 1000 - 2.0


async def test_answers_keep_a_report_open() -> None:
    async with reported_servers(2) as reported:
        await wait_reported(reported)
        for told in range(3):
            await pass_ticks(reported, SILENT_TICKS - 1)
            await reported.first.tell()
            await eventually(partial(reported.has_told, told + 1))
        assert reported.reports == [0, 1]


async def test_stall_of_the_process_is_not_taken_for_silence() -> None:
    async with reported_servers(2) as reported:
        await wait_reported(reported)
        await pass_ticks(reported, SILENT_TICKS - 1, seconds=LEASE_MS / 1000)
        assert reported.reports == [0, 1]
        await pass_ticks(reported, 1)
        await eventually(lambda: reported.reports == [1, 1])


async def test_server_that_never_answers_is_left_for_another_one() -> None:
    async with reported_servers(2) as reported:
        for server in reported.servers:
            server.welcomes = False
        await eventually(lambda: reported.reports == [0, 1])
        for server in reported.servers:
            server.welcomes = True
        await pass_ticks(reported, SILENT_TICKS)
        await eventually(lambda: reported.reports == [1, 1])
