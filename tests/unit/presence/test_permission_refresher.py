"""The permissions of open watches are decided again when they change, and those of nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from presence_service.model.visibility import Audience
from presence_service.watching.refresher import RETRY_INTERVAL_S, PermissionRefresher
from tests.eventually import run_ready
from tests.unit.presence.conftest import WatchingServer

ALICE, BOB, CAROL, DAVE = "a" * 32, "b" * 32, "c" * 32, "d" * 32


@pytest.fixture
async def refresher(server: WatchingServer) -> AsyncIterator[PermissionRefresher]:
    for user in (ALICE, BOB, CAROL):
        server.change(user, server.stream())
    refresher = PermissionRefresher(server.watches, server.permissions, server.clock)
    running = asyncio.create_task(refresher.run())
    yield refresher
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_block_hides_two_users_from_each_other(server: WatchingServer, refresher: PermissionRefresher) -> None:
    await server.watch(ALICE, BOB, CAROL)
    await server.watch(BOB, ALICE, CAROL)
    server.directory.asked.clear()
    server.directory.blocked.add((BOB, ALICE))
    refresher.on_changed(BOB, ALICE)
    await run_ready()
    assert sorted(server.told) == [[(ALICE, "OFFLINE")], [(BOB, "OFFLINE")]]
    assert sorted(server.directory.asked) == [[(ALICE, BOB)], [(BOB, ALICE)]], "carol is not concerned"


async def test_other_settings_reach_viewers_and_own_watches(
    server: WatchingServer, refresher: PermissionRefresher
) -> None:
    await server.watch(ALICE, BOB)
    await server.watch(BOB, CAROL)
    await server.settings.update(BOB, Audience.NOBODY, None)
    refresher.on_changed(BOB, "")
    await run_ready()
    assert sorted(server.told) == [[(BOB, "OFFLINE")], [(CAROL, "OFFLINE")]]


async def test_change_of_users_whom_nobody_watches_asks_nobody(
    server: WatchingServer, refresher: PermissionRefresher
) -> None:
    await server.watch(ALICE, BOB)
    server.directory.asked.clear()
    refresher.on_changed(CAROL, "")
    refresher.on_changed(CAROL, DAVE)
    refresher.on_changed(BOB, DAVE)
    await run_ready()
    assert server.directory.asked == []


async def test_decision_that_failed_is_made_later(server: WatchingServer, refresher: PermissionRefresher) -> None:
    await server.watch(ALICE, BOB)
    server.directory.away = True
    server.directory.blocked.add((ALICE, BOB))
    refresher.on_changed(ALICE, BOB)
    await run_ready()
    server.directory.away = False
    await run_ready()
    assert server.told == []
    server.clock.advance(RETRY_INTERVAL_S)
    await run_ready()
    assert server.told == [[(BOB, "OFFLINE")]]


async def test_later_change_outlasts_a_decision_in_progress(
    server: WatchingServer, refresher: PermissionRefresher
) -> None:
    await server.watch(ALICE, BOB)
    slow = server.directory.answers = asyncio.Event()
    # It has read the relation before the block, and is told so after it.
    refresher.on_changed(ALICE, "")
    await run_ready()
    server.directory.answers = asyncio.Event()
    server.directory.answers.set()
    server.directory.blocked.add((ALICE, BOB))
    refresher.on_changed(ALICE, BOB)
    await run_ready()
    assert server.told == [[(BOB, "OFFLINE")]]
    slow.set()
    await run_ready()
    assert server.told == [[(BOB, "OFFLINE")]]


async def test_all_are_decided_again_once_messages_may_be_lost(
    server: WatchingServer, refresher: PermissionRefresher
) -> None:
    await server.watch(ALICE, BOB)
    server.directory.blocked.add((BOB, ALICE))
    refresher.refresh_all()
    await run_ready()
    assert server.told == [[(BOB, "OFFLINE")]]
