"""A home keeps one session per device: the newest, regardless of the order of attachment."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import pytest

from chat_service.home.home import MOVED_USERS_KEPT_S, Home
from chat_service.model.delivery import AttachedSession, Delivery, Foreground, UnpushedEntry
from servicekit.failure import Failure
from tests.clock import ManualClock

USER, DEVICE = "a" * 32, "d" * 32


@dataclass
class RecordedEdges:
    """Edges that record the messages of a home."""

    pushed: list[Sequence[str]] = field(default_factory=list)
    closed: list[tuple[str, str]] = field(default_factory=list)
    rechecked: list[str] = field(default_factory=list)

    def push(self, edge: str, session_ids: Sequence[str], delivery: Delivery) -> None:
        self.pushed.append(session_ids)

    def close(self, edge: str, session_id: str, failure: Failure) -> None:
        self.closed.append((session_id, failure.reason))

    def recheck(self, edge: str, session_ids: Sequence[str]) -> None:
        self.rechecked += session_ids

    def live_sessions(self, home: Home) -> Sequence[str]:
        home.deliver([USER], Delivery())
        return self.pushed[-1]


@pytest.fixture
def edges() -> RecordedEdges:
    return RecordedEdges()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def home(edges: RecordedEdges, clock: ManualClock) -> Home:
    return Home(edges, clock)


def session(name: str, instance_id: str = "", number: int = 0) -> AttachedSession:
    return AttachedSession(name, USER, DEVICE, "edge", instance_id=instance_id, stream_number=number)


def test_new_session_supersedes_regardless_of_edge_clock(edges: RecordedEdges, home: Home) -> None:
    home.attach(session("2"))
    home.attach(session("1"))
    assert edges.closed == [("2", "SESSION_SUPERSEDED")]
    assert edges.live_sessions(home) == ["1"]


@pytest.mark.parametrize("reattach", [False, True])
def test_stream_that_its_program_gave_up_supersedes_no_later_one(
    edges: RecordedEdges, home: Home, reattach: bool
) -> None:
    home.attach(session("1", "program", 2))
    # It reached its server later, so the server gave it the higher id.
    home.attach(session("2", "program", 1), reattach=reattach)
    assert edges.closed == [("2", "SESSION_SUPERSEDED")]
    assert edges.live_sessions(home) == ["1"]


@pytest.mark.parametrize("reattach", [False, True])
def test_next_stream_of_a_program_supersedes_the_one_before(edges: RecordedEdges, home: Home, reattach: bool) -> None:
    home.attach(session("2", "program", 1))
    home.attach(session("1", "program", 2), reattach=reattach)
    assert edges.closed == [("2", "SESSION_SUPERSEDED")]
    assert edges.live_sessions(home) == ["1"]


def test_stream_of_another_program_supersedes_whatever_its_number(edges: RecordedEdges, home: Home) -> None:
    home.attach(session("1", "program", 7))
    home.attach(session("2", "another program", 1))
    assert edges.closed == [("1", "SESSION_SUPERSEDED")]
    assert edges.live_sessions(home) == ["2"]


def test_older_session_reattached_after_newer_one_is_closed(edges: RecordedEdges, home: Home) -> None:
    home.attach(session("2"), reattach=True)
    home.attach(session("1"), reattach=True)
    assert edges.closed == [("1", "SESSION_SUPERSEDED")]
    assert edges.live_sessions(home) == ["2"]


def test_newer_session_reattached_after_older_one_stays(edges: RecordedEdges, home: Home) -> None:
    home.attach(session("1"), reattach=True)
    home.attach(session("2"), reattach=True)
    assert edges.closed == [("1", "SESSION_SUPERSEDED")]
    assert edges.live_sessions(home) == ["2"]


def test_repeated_session_supersedes_nothing(edges: RecordedEdges, home: Home) -> None:
    home.attach(session("1"))
    home.attach(session("1"), reattach=True)
    assert edges.closed == []
    assert edges.live_sessions(home) == ["1"]


def test_briefly_moved_user_is_kept(home: Home, clock: ManualClock) -> None:
    home.attach(session("1"))
    home.on_ring_changed(lambda _: True)
    clock.advance(MOVED_USERS_KEPT_S - 0.1)
    home.on_ring_changed(lambda _: False)
    clock.advance(MOVED_USERS_KEPT_S)
    assert home.has_user(USER)


def test_moved_user_is_dropped_after_last_ring_change(home: Home, clock: ManualClock) -> None:
    home.attach(session("1"))
    for _ in range(2):
        home.on_ring_changed(lambda _: True)
        clock.advance(MOVED_USERS_KEPT_S - 0.1)
        assert home.has_user(USER)
    clock.advance(0.1)
    assert not home.has_user(USER)


class NotedPushes:
    """Pushes that keep one entry back from each user until they are told to forget the user."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self.unheard: list[str] = []

    def offer(self, user_ids: Collection[str], delivery: Delivery) -> None:
        pass

    def hold(self) -> None:
        pass

    def decide_held(self) -> None:
        pass

    def find_unpushed(self, user_id: str) -> UnpushedEntry | None:
        return None if user_id in self.forgotten else ENTRY

    def offer_unheard(self, user_id: str) -> None:
        self.unheard.append(user_id)

    def forget_user(self, user_id: str) -> None:
        self.forgotten.append(user_id)


ENTRY = UnpushedEntry("9" * 32, 5, 1)


def test_devices_in_the_foreground_are_described_with_the_unpushed_entry(home: Home) -> None:
    assert home.describe_foreground(USER) == Foreground()
    home.pushes = NotedPushes()
    for name, device in (("1", "phone"), ("2", "laptop"), ("3", "tablet")):
        home.attach(replace(session(name), device_id=device))
    home.set_activity(USER, "1", foreground=False)
    assert home.describe_foreground(USER) == Foreground(("laptop", "tablet"), ENTRY)


def test_what_came_before_a_session_fell_silent_is_offered_again(home: Home) -> None:
    home.pushes = pushes = NotedPushes()
    home.attach(session("1"))
    home.set_activity(USER, "1", foreground=False)
    assert pushes.unheard == []
    home.set_activity(USER, "1", foreground=True)
    home.set_activity(USER, "1", foreground=False, silent=True)
    assert pushes.unheard == [USER]
    assert not home.is_in_foreground(USER)


def test_unpushed_entry_is_forgotten_with_the_last_session(home: Home) -> None:
    home.pushes = pushes = NotedPushes()
    home.attach(session("1"))
    home.attach(replace(session("2"), device_id="laptop"))
    home.detach(USER, "1")
    assert pushes.forgotten == []
    home.detach(USER, "2")
    home.detach(USER, "2")
    assert pushes.forgotten == [USER]


def test_unpushed_entry_is_forgotten_once_the_user_has_moved(home: Home) -> None:
    home.pushes = pushes = NotedPushes()
    home.attach(session("1"))
    home.forget_moved_users(lambda _: True)
    assert pushes.forgotten == [USER]
    assert home.describe_foreground(USER) == Foreground()
