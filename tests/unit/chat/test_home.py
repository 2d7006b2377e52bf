"""A home keeps one session a device: the newest, whichever attaches last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from chat_service.home.home import Home
from chat_service.model.delivery import AttachedSession, Delivery
from servicekit.failure import Failure

USER, DEVICE = "a" * 32, "d" * 32


@dataclass
class Edges:
    """What a home says to edges."""

    pushed: list[Sequence[str]] = field(default_factory=list)
    closed: list[tuple[str, str]] = field(default_factory=list)
    rechecked: list[str] = field(default_factory=list)

    def push(self, edge: str, session_ids: Sequence[str], delivery: Delivery) -> None:
        self.pushed.append(session_ids)

    def close(self, edge: str, session_id: str, failure: Failure) -> None:
        self.closed.append((session_id, failure.reason))

    def recheck(self, edge: str, session_ids: Sequence[str]) -> None:
        self.rechecked += session_ids

    def live(self, home: Home) -> Sequence[str]:
        home.deliver([USER], Delivery())
        return self.pushed[-1]


@pytest.fixture
def edges() -> Edges:
    return Edges()


def session(name: str) -> AttachedSession:
    return AttachedSession(name, USER, DEVICE, "edge")


def test_a_new_session_supersedes_whatever_the_clock_of_its_edge_says(edges: Edges) -> None:
    home = Home(edges)
    home.attach(session("2"))
    home.attach(session("1"))
    assert edges.closed == [("2", "SESSION_SUPERSEDED")]
    assert edges.live(home) == ["1"]


def test_an_old_session_that_attaches_again_after_the_newer_one_is_the_one_that_ends(edges: Edges) -> None:
    home = Home(edges)
    home.attach(session("2"), again=True)
    home.attach(session("1"), again=True)
    assert edges.closed == [("1", "SESSION_SUPERSEDED")]
    assert edges.live(home) == ["2"]


def test_a_newer_session_that_attaches_again_after_the_old_one_stays(edges: Edges) -> None:
    home = Home(edges)
    home.attach(session("1"), again=True)
    home.attach(session("2"), again=True)
    assert edges.closed == [("1", "SESSION_SUPERSEDED")]
    assert edges.live(home) == ["2"]


def test_the_same_session_again_supersedes_nothing(edges: Edges) -> None:
    home = Home(edges)
    home.attach(session("1"))
    home.attach(session("1"), again=True)
    assert edges.closed == []
    assert edges.live(home) == ["1"]


async def test_who_is_at_home_elsewhere_for_a_moment_is_not_forgotten(edges: Edges) -> None:
    home = Home(edges)
    home.attach(session("1"))
    home.on_ring_changed(lambda _: True)
    home.on_ring_changed(lambda _: False)
    home.forget_moved_users(lambda _: False)
    assert home.has_user(USER)
    assert home.presence.watch("edge", "watcher", [USER]) == [USER]
    home.forget_moved_users(lambda _: True)
    assert not home.has_user(USER)


async def test_who_watched_somebody_at_home_elsewhere_for_a_moment_asks_again(edges: Edges) -> None:
    home = Home(edges)
    home.attach(session("1"))
    for user_ids in ([USER], [USER, "f" * 32]):
        home.presence.watch("edge", f"watcher of {len(user_ids)}", user_ids)
    home.on_ring_changed(lambda _: True)
    home.forget_moved_users(lambda user_id: user_id != USER)
    assert sorted(edges.rechecked) == ["watcher of 1", "watcher of 2"]
    home.forget_moved_users(lambda _: False)
    assert len(edges.rechecked) == 2, "they were asked to look once"
