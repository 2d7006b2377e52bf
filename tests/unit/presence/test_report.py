"""The report of a chat server: its protocol, its snapshot, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest

from parley.internal.v1.presence_report_pb2 import DeviceState, ReportRequest
from presence_service.model.leases import LEASE_MS
from presence_service.model.presence import StreamState
from presence_service.reports.report import ANSWER_INTERVAL_S, APPLY_BATCH, DISCONNECT_WAIT_S, KNOWN_S, RETRY_INTERVAL_S
from presence_service.watching.watches import TICK_S
from servicekit.failure import Failure
from tests.eventually import eventually, run_ready
from tests.unit.presence.conftest import WatchingServer
from tests.unit.presence.reporting import (
    ALICE,
    BOB,
    CAROL,
    DEVICE,
    HELLO,
    INCARNATION,
    SERVER,
    ReportedServer,
    opened,
    reason_of,
    snapshot,
    transition,
    transitions,
    watch,
    watch_of,
)


@pytest.fixture
async def reported(server: WatchingServer) -> AsyncIterator[ReportedServer]:
    reported = ReportedServer(server)
    yield reported
    for call in reported.serving:
        call.cancel()
        with suppress(asyncio.CancelledError, Failure, ExceptionGroup):
            await call


BAD_FRAMES = {
    "HELLO_MISSING": [snapshot()],
    "HELLO_REPEATED": [HELLO, HELLO],
    "FRAME_EMPTY": [HELLO, ReportRequest()],
    "FIELD_INVALID": [HELLO, transitions(0, opened(BOB, "one"))],
}


@pytest.mark.parametrize("reason", BAD_FRAMES)
async def test_frame_against_the_protocol_ends_the_report(reported: ReportedServer, reason: str) -> None:
    _, call = await reported.open(*BAD_FRAMES[reason])
    assert await reason_of(call) == reason
    assert reported.store.applied == []


async def test_unparsable_frame_ends_the_report(reported: ReportedServer) -> None:
    stream, call = await reported.open(HELLO)
    stream.send_bytes(b"\xff\xff\xff")
    assert await reason_of(call) == "FRAME_UNPARSABLE"


async def test_end_before_hello_ends_the_report(reported: ReportedServer) -> None:
    stream, call = await reported.open()
    stream.half_close()
    assert await reason_of(call) == "HELLO_MISSING"


async def test_second_snapshot_ends_the_report(reported: ReportedServer) -> None:
    stream, call = await reported.open(HELLO, snapshot(), snapshot())
    assert await reason_of(call) == "FIELD_INVALID"
    assert stream.acknowledged == [0]


async def test_streams_in_no_page_of_the_snapshot_are_closed(reported: ReportedServer) -> None:
    stream, call = await reported.open(HELLO, snapshot(opened(BOB, "one"), opened(CAROL, "two")))
    stream.half_close()
    call.cancel()
    await run_ready()
    stream, _ = await reported.open(HELLO, snapshot(opened(BOB, "one"), last=False))
    assert reported.store.ended() == {}, "the next page may have it"
    stream.send(snapshot(opened(ALICE, "three")))
    await run_ready()
    assert reported.store.ended() == {"two": StreamState.CLOSED}
    assert stream.acknowledged == [0, 0], "each page is answered"


async def test_lease_is_complete_once_all_devices_are_reported(reported: ReportedServer) -> None:
    stream, _ = await reported.open(HELLO, snapshot(opened(BOB, "one"), last=False))
    assert not reported.store.leases[SERVER][0].is_complete
    stream.send(snapshot(opened(CAROL, "two")))
    await run_ready()
    assert reported.store.leases[SERVER][0].is_complete
    await reported.open(HELLO)
    assert not reported.store.leases[SERVER][0].is_complete, "another report begins anew"


async def test_frames_are_acknowledged_and_renew_the_lease(reported: ReportedServer) -> None:
    stream, _ = await reported.open(HELLO, snapshot())
    assert [each.WhichOneof("frame") for each in stream.written] == ["welcome", "acknowledgement"]
    for seq in (1, 2, 3):
        reported.clock.advance(LEASE_MS / 2000)
        stream.send(transitions(seq, opened(BOB, f"{seq}")), ReportRequest(renew=ReportRequest.Renew()))
        await run_ready()
        assert reported.store.leases[SERVER][0].renewed_ms == reported.clock.now_ms()
    assert stream.acknowledged == [0, 1, 1, 2, 2, 3, 3]


async def test_snapshot_that_takes_long_is_answered_meanwhile(reported: ReportedServer) -> None:
    reported.store.applies.clear()
    stream, call = await reported.open(HELLO, snapshot(opened(BOB, "one")))
    for answers in range(1, 4):
        reported.clock.advance(ANSWER_INTERVAL_S)
        await run_ready()
        assert stream.acknowledged == [0] * answers
    reported.store.applies.set()
    await run_ready()
    assert stream.acknowledged == [0] * 4, "the page has its own answer"
    reported.clock.advance(2 * ANSWER_INTERVAL_S)
    await run_ready()
    assert stream.acknowledged == [0] * 4, "a chat server that is silent gets no answer"
    assert not call.done()


async def test_many_watches_are_answered_before_they_have_begun(reported: ReportedServer) -> None:
    reported.server.directory.answers.clear()
    stream, _ = await reported.open(HELLO, snapshot())
    for answers in range(1, 4):
        stream.send(watch_of(answers, BOB), watch_of(100 + answers, BOB))
        await run_ready()
        reported.clock.advance(ANSWER_INTERVAL_S)
        await run_ready()
        assert stream.acknowledged == [0] * (1 + answers)
    assert stream.told() == []
    reported.server.directory.answers.set()
    await run_ready()
    assert stream.told() == [{BOB: 3}] * 6
    frames = [each for each in stream.written if each.HasField("presences")]
    assert len(frames) == 2, "one for each call of the directory"


async def test_lease_is_renewed_while_many_transitions_are_stored(reported: ReportedServer) -> None:
    stream, _ = await reported.open(HELLO, snapshot())
    reported.store.applies.clear()
    stream.send(transitions(1, *(opened(BOB, str(number)) for number in range(APPLY_BATCH + 1))))
    await run_ready()
    reported.clock.advance(LEASE_MS / 2000)
    reported.store.applies.set()
    await run_ready()
    assert len(reported.store.applied) == APPLY_BATCH + 1
    assert reported.store.leases[SERVER][0].renewed_ms == reported.clock.now_ms()


async def test_open_session_is_stored_once_a_day_and_after_it_was_silent(reported: ReportedServer) -> None:
    stream, _ = await reported.open(HELLO, snapshot(opened(BOB, "one")))
    background = transition(BOB, "one", DeviceState.DEVICE_STATE_BACKGROUND)
    silent = transition(BOB, "one", DeviceState.DEVICE_STATE_SILENT)
    counts = []
    for seq, changes in enumerate([[background], [silent, background], [background]], 1):
        for change in changes:
            stream.send(transitions(seq, change))
        await run_ready()
        counts.append(len(reported.store.stored))
    assert counts == [1, 2, 2]
    lease, report = reported.store.leases[SERVER]
    reported.clock.advance(KNOWN_S)
    reported.store.leases[SERVER] = replace(lease, renewed_ms=reported.clock.now_ms()), report
    stream.send(transitions(4, background))
    await run_ready()
    assert reported.store.stored == ["one"] * 3


async def test_report_whose_lease_has_ended_begins_anew(reported: ReportedServer) -> None:
    stream, call = await reported.open(HELLO, snapshot())
    reported.clock.advance(LEASE_MS / 1000)
    stream.send(transitions(1, opened(BOB, "one")))
    assert await reason_of(call) == "SESSION_SUPERSEDED"
    assert reported.store.applied == [], "nothing is kept that its death would not end"


async def test_newer_report_supersedes_an_older_one(reported: ReportedServer) -> None:
    stream, call = await reported.open(HELLO, snapshot(opened(BOB, "one")))
    await reported.open(HELLO, snapshot(opened(BOB, "one")))
    reported.clock.advance(2)
    stream.send(ReportRequest(renew=ReportRequest.Renew()))
    assert await reason_of(call) == "SESSION_SUPERSEDED"
    assert reported.store.ended() == {}


async def test_goodbye_closes_all_streams(reported: ReportedServer) -> None:
    stream, call = await reported.open(HELLO, snapshot(opened(BOB, "one")))
    stream.half_close()
    await run_ready()
    assert reported.store.ended() == {}
    reported.clock.advance(DISCONNECT_WAIT_S)
    await eventually(call.done)
    assert reported.store.ended() == {"one": StreamState.CLOSED}
    assert SERVER not in reported.store.leases


async def test_lost_connection_that_looks_like_a_goodbye_closes_nothing(reported: ReportedServer) -> None:
    stream, call = await reported.open(HELLO, snapshot(opened(BOB, "one")))
    stream.half_close()
    await run_ready()
    call.cancel()
    await run_ready()
    reported.clock.advance(DISCONNECT_WAIT_S)
    await run_ready()
    assert call.cancelled()
    assert reported.store.ended() == {}
    assert SERVER in reported.store.leases


async def test_late_goodbye_closes_nothing_of_a_newer_report(reported: ReportedServer) -> None:
    stream, call = await reported.open(HELLO, snapshot(opened(BOB, "one")))
    await reported.open(HELLO, snapshot(opened(BOB, "one")))
    stream.half_close()
    await run_ready()
    reported.clock.advance(DISCONNECT_WAIT_S)
    await eventually(call.done)
    assert reported.store.ended() == {}


async def test_restarted_server_has_no_streams_of_its_earlier_life(reported: ReportedServer) -> None:
    await reported.open(HELLO, snapshot(opened(BOB, "one")))
    hello = ReportRequest.Hello(server_id=SERVER, incarnation=INCARNATION + 1)
    await reported.open(ReportRequest(hello=hello), snapshot(opened(CAROL, "two")))
    assert reported.store.ended() == {"one": StreamState.CLOSED}


async def test_loss_of_presence_ends_all_reports(reported: ReportedServer) -> None:
    calls = [(await reported.open(HELLO, snapshot()))[1] for _ in range(2)]
    reported.reports.end_all()
    assert [await reason_of(call) for call in calls] == ["STORE_UNAVAILABLE"] * 2


async def test_watch_is_answered_replaced_and_ended_with_the_report(reported: ReportedServer) -> None:
    watches = reported.server.watches
    stream, call = await reported.open(HELLO, snapshot(), watch(BOB, CAROL))
    assert stream.told() == [{BOB: 3, CAROL: 3}]
    stream.send(watch(CAROL))
    await run_ready()
    assert stream.told()[1:] == [{CAROL: 3}]
    assert watches.watched_by(ALICE) == {CAROL}
    stream.send(watch())
    await run_ready()
    assert watches.watched_by(ALICE) == set()
    stream.send(watch(BOB))
    await run_ready()
    assert watches.watched_by(ALICE) == {BOB}
    call.cancel()
    await eventually(call.done)
    assert watches.watched_by(ALICE) == set()


async def test_changes_of_one_tick_are_told_in_one_frame_with_their_devices(reported: ReportedServer) -> None:
    other = ReportRequest.Watch(user_id=CAROL, device_id="e" * 32, watched_user_ids=[BOB])
    stream, _ = await reported.open(HELLO, snapshot(), watch(BOB, CAROL), ReportRequest(watch=other))
    answers = len(stream.written)
    for user in (BOB, CAROL):
        reported.server.change(user, reported.server.stream())
    await reported.server.advance(2 * TICK_S)
    [frame] = stream.written[answers:]
    changes = {
        each.presence.user_id: (each.presence.state, sorted(each.device_ids)) for each in frame.presences.changes
    }
    assert changes == {BOB: (1, [DEVICE, "e" * 32]), CAROL: (1, [DEVICE])}


async def test_watch_that_cannot_begin_is_answered_later(reported: ReportedServer) -> None:
    reported.server.directory.away = True
    stream, _ = await reported.open(HELLO, snapshot(), watch(BOB))
    assert stream.told() == []
    reported.server.directory.away = False
    reported.clock.advance(RETRY_INTERVAL_S)
    await run_ready()
    assert stream.told() == [{BOB: 3}]


async def test_changed_relation_is_published(reported: ReportedServer) -> None:
    relation = ReportRequest.RelationChanged(user_id=ALICE, other_user_id=BOB, report_seq=1)
    await reported.open(HELLO, snapshot(), ReportRequest(relation_changed=relation))
    assert reported.relations == [(ALICE, BOB)]
