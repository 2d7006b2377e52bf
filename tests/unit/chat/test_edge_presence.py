"""An edge reports which of its sessions are in the foreground, which are silent, and which have ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import pytest

from chat_service.limits import Limits
from chat_service.model.delivery import AttachedSession
from chat_service.stream.edge_presence import (
    BACKGROUND_SILENCE_S,
    FOREGROUND_SILENCE_S,
    SWEEP_INTERVAL_S,
    EdgePresence,
)
from chat_service.stream.session import StreamSession
from chat_service.stream.session_registry import SessionRegistry
from parley.chat.v1 import chat_pb2
from parley.internal.v1.presence_report_pb2 import DeviceState, ReportResponse
from parley.presence.v1.presence_pb2 import Presence, PresenceState
from servicekit.auth import Claims
from servicekit.errors import Disabled
from servicekit.failure import Failure
from servicekit.rate_limiter import RateLimit, RateLimiter
from tests.clock import ManualClock
from tests.eventually import run_ready
from tests.unit.chat.test_session_media import ManualCatalog, PromptOwners

USER, BOB, PHONE, TABLET = "a" * 32, "b" * 32, "1" * 32, "2" * 32
FOREGROUND, BACKGROUND = "FOREGROUND", "BACKGROUND"


class RecordingReporter:
    """Implements Reporter: it keeps what was told, in order."""

    def __init__(self) -> None:
        self.states: list[tuple[str, str]] = []
        self.watches: list[tuple[str, list[str]]] = []
        self.relations: list[tuple[str, str]] = []

    def set_state(self, session: AttachedSession, state: DeviceState.ValueType) -> None:
        told = session.device_id, _name(state)
        if not self.states or self.states[-1] != told:
            self.states.append(told)

    def end_session(self, session: AttachedSession, state: DeviceState.ValueType) -> None:
        self.states.append((session.device_id, _name(state)))

    def watch(self, user_id: str, device_id: str, watched: Sequence[str]) -> None:
        self.watches.append((device_id, list(watched)))

    def change_relation(self, user_id: str, other_id: str) -> None:
        self.relations.append((user_id, other_id))


def _name(state: DeviceState.ValueType) -> str:
    return DeviceState.Name(state).removeprefix("DEVICE_STATE_")


class RecordingHomes:
    """Homes that record the activity of sessions: (home, whether in the foreground)."""

    def __init__(self) -> None:
        self.activity: list[tuple[str, bool]] = []

    def home_of(self, user_id: str) -> str:
        return "home"

    def address_of(self, user_id: str) -> str:
        return "home"

    async def attach(self, home: str, session: AttachedSession, reattach: bool) -> bool:
        raise AssertionError("these sessions are attached by nobody")

    def set_activity(self, home: str, session: AttachedSession) -> None:
        self.activity.append((home, session.foreground))

    def detach(self, home: str, user_id: str, session_id: str) -> None:
        raise AssertionError("these sessions are detached by nobody")


class PresentEdge:
    """An edge with its presence, on a clock that tests advance."""

    def __init__(self) -> None:
        self.clock, self.reporter, self.homes = ManualClock(), RecordingReporter(), RecordingHomes()
        self.sessions = SessionRegistry(self.clock)
        self.presence = EdgePresence(self.sessions, self.homes, self.reporter, self.clock)
        self._rates = RateLimiter(RateLimit(1e6, 1e6), self.clock, 10)

    def open(self, device: str = PHONE) -> StreamSession:
        """Open a session of a device that may use the service."""
        claims, bucket = Claims(USER, device, 0), self._rates.bucket_of(device)
        session = StreamSession(claims, Limits(), self.clock, "edge", PromptOwners(), ManualCatalog(), bucket)
        self.sessions.add(session)
        self.presence.start_session(session)
        return session

    def close(self, session: StreamSession, failure: Failure | None = None) -> None:
        session.outbox.close(failure)
        self.presence.end_session(session)
        self.sessions.remove(session)

    async def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / SWEEP_INTERVAL_S)):
            self.clock.advance(SWEEP_INTERVAL_S)
            await run_ready()

    def states(self) -> list[str]:
        """Return the states that were told of all sessions, in order."""
        return [state for _, state in self.reporter.states]


@pytest.fixture
async def edge() -> AsyncIterator[PresentEdge]:
    edge = PresentEdge()
    running = asyncio.create_task(edge.presence.run())
    await run_ready()
    yield edge
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_silent_device_is_reported_after_its_limit_and_when_it_is_heard_again(edge: PresentEdge) -> None:
    session = edge.open()
    await edge.advance(FOREGROUND_SILENCE_S - SWEEP_INTERVAL_S)
    assert edge.states() == [FOREGROUND]
    await edge.advance(2 * SWEEP_INTERVAL_S)
    assert edge.states() == [FOREGROUND, "SILENT"]
    edge.presence.note_frame(session, chat_pb2.ACTIVITY_UNSPECIFIED)
    assert edge.states() == [FOREGROUND, "SILENT", FOREGROUND]


async def test_frame_of_any_kind_keeps_a_device_from_being_silent(edge: PresentEdge) -> None:
    session = edge.open()
    for _ in range(4):
        await edge.advance(FOREGROUND_SILENCE_S / 2)
        session.note_frame()
    assert edge.states() == [FOREGROUND]


async def test_background_device_may_be_silent_for_longer(edge: PresentEdge) -> None:
    session = edge.open()
    edge.presence.note_frame(session, chat_pb2.ACTIVITY_BACKGROUND)
    await edge.advance(BACKGROUND_SILENCE_S - SWEEP_INTERVAL_S)
    assert edge.states() == [FOREGROUND, BACKGROUND]
    await edge.advance(2 * SWEEP_INTERVAL_S)
    assert edge.states() == [FOREGROUND, BACKGROUND, "SILENT"]


async def test_end_of_a_session_is_told_by_its_reason(edge: PresentEdge) -> None:
    edge.close(edge.open())
    edge.close(edge.open(), Failure("it was revoked", code="UNAUTHENTICATED", reason="DEVICE_REVOKED"))
    edge.close(edge.open(), Failure("another stream", code="ABORTED", reason="SESSION_SUPERSEDED"))
    assert edge.states()[1::2] == ["CLOSED", "SIGNED_OUT", "CLOSED"]


async def test_session_that_was_never_admitted_is_not_reported(edge: PresentEdge) -> None:
    session = edge.open()
    edge.close(session)
    edge.reporter.states.clear()
    edge.presence.note_frame(session, chat_pb2.ACTIVITY_FOREGROUND)
    edge.presence.end_session(session)
    await edge.advance(FOREGROUND_SILENCE_S + 1)
    assert edge.states() == []


async def test_watch_ends_with_the_session_that_began_it(edge: PresentEdge) -> None:
    old, tablet = edge.open(), edge.open(TABLET)
    for session in (old, tablet):
        edge.presence.watch(session, [BOB])
    new = edge.open()
    edge.presence.watch(new, [USER])
    edge.close(old)
    assert edge.reporter.watches == [(PHONE, [BOB]), (TABLET, [BOB]), (PHONE, [USER])], "a newer one has the watch"
    edge.close(new)
    assert edge.reporter.watches[3:] == [(PHONE, [])]


async def test_presence_reaches_the_session_that_watches(edge: PresentEdge) -> None:
    phone, tablet = edge.open(), edge.open(TABLET)
    edge.presence.watch(phone, [BOB])
    answering = asyncio.create_task(edge.presence.watch_and_wait(tablet, [BOB]))
    await run_ready()
    online = Presence(user_id=BOB, state=PresenceState.PRESENCE_STATE_ONLINE)
    told = [
        ReportResponse.DevicePresences(user_id=USER, device_id=each, presences=[online])
        for each in (TABLET, PHONE, "3" * 32)
    ]
    edge.presence.take_presences(ReportResponse.Presences(devices=told))
    assert [each.online for each in (await answering).users] == [True]
    frame = chat_pb2.ConnectResponse.FromString(await phone.outbox.dequeue() or b"")
    assert [each.user_id for each in frame.presence.users] == [BOB]


async def test_watch_without_a_presence_service_is_refused() -> None:
    edge = PresentEdge()
    edge.presence = EdgePresence(edge.sessions, edge.homes, None, edge.clock)
    session = edge.open()
    with pytest.raises(Disabled):
        edge.presence.watch(session, [BOB])
    with pytest.raises(Disabled):
        await edge.presence.watch_and_wait(session, [BOB])
    edge.close(session)


async def test_home_is_told_when_a_session_leaves_the_foreground_and_comes_back(edge: PresentEdge) -> None:
    session = edge.open()
    session.home = "home"
    edge.presence.note_frame(session, chat_pb2.ACTIVITY_BACKGROUND)
    edge.presence.note_frame(session, chat_pb2.ACTIVITY_BACKGROUND)
    edge.presence.note_frame(session, chat_pb2.ACTIVITY_FOREGROUND)
    assert edge.homes.activity == [("home", False), ("home", True)]
    assert session.attached_session.foreground
    edge.close(session)
