"""The poll of the leases: dead chat servers are ended once, and a loss of presence is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import replace

import pytest

from presence_service.model.leases import LEASE_MS, Leases
from presence_service.model.presence import StreamState, Transition
from presence_service.reports.lease_watch import POLL_INTERVAL_S, LeaseWatch
from tests.clock import ManualClock
from tests.eventually import run_ready
from tests.unit.presence.memory import MemoryPresenceStore

SERVER = "chat-1:5101"


class Polling:
    """A running LeaseWatch, and what it told."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryPresenceStore(self.clock)
        self.polled: list[Leases] = []
        self.epochs = 0
        self.offline: list[str] = []
        self.watch = LeaseWatch(self.store, self.polled.append, self._on_epoch, self._on_offline, self.clock)

    def _on_epoch(self) -> None:
        self.epochs += 1

    def _on_offline(self, users: Iterable[str]) -> None:
        self.offline += users

    async def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / POLL_INTERVAL_S)):
            self.clock.advance(POLL_INTERVAL_S)
            await run_ready()

    async def report(self, *users: str) -> None:
        """Let a chat server report a stream of each user."""
        number = await self.store.open_lease(SERVER, 1, "report")
        await self.store.apply(
            SERVER, 1, number, [Transition(user, f"{user}'s", StreamState.FOREGROUND) for user in users]
        )


@pytest.fixture
async def polling() -> AsyncIterator[Polling]:
    polling = Polling()
    running = asyncio.create_task(polling.watch.run())
    await run_ready()
    yield polling
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_leases_are_read_twice_a_second(polling: Polling) -> None:
    await polling.advance(5)
    assert len(polling.polled) == 11
    assert polling.epochs == 0


async def test_streams_of_dead_server_are_ended_once_its_lease_has(polling: Polling) -> None:
    await polling.report("bob", "carol")
    await polling.advance(LEASE_MS / 1000 - POLL_INTERVAL_S)
    assert polling.store.ended() == {}
    await polling.advance(2 * POLL_INTERVAL_S)
    assert polling.store.ended() == {"bob's": StreamState.SILENT, "carol's": StreamState.SILENT}
    assert sorted(polling.offline) == ["bob", "carol"]
    assert polling.store.leases == {}
    assert polling.store.sessions == {(SERVER, 1): {}}
    await polling.advance(LEASE_MS / 1000)
    assert len(polling.store.applied) == 4, "and no second time"


async def test_streams_of_dead_server_are_dated_at_the_end_of_its_lease(polling: Polling) -> None:
    await polling.report("bob")
    polling.store.away = True
    await polling.advance(LEASE_MS / 1000 + 3)
    polling.store.away = False
    await polling.advance(2 * POLL_INTERVAL_S)
    [ended] = [each for each in polling.store.applied if each.state is StreamState.SILENT]
    assert 3_000 <= ended.age_ms <= 4_000


async def test_server_that_another_replica_ends_is_left_to_it(polling: Polling) -> None:
    await polling.report("bob")
    await polling.advance(LEASE_MS / 1000 - POLL_INTERVAL_S)
    lease, _ = polling.store.leases[SERVER]
    polling.store.leases[SERVER] = replace(lease, renewed_ms=polling.clock.now_ms(), is_ending=True), ""
    await polling.advance(5)
    assert polling.store.ended() == {}
    assert polling.offline == []


async def test_nothing_is_told_while_the_store_is_away(polling: Polling) -> None:
    polling.store.away = True
    await polling.advance(30)
    assert len(polling.polled) == 1
    assert polling.epochs == 0


async def test_loss_of_presence_is_told_once(polling: Polling) -> None:
    await polling.advance(1)
    polling.store.epoch_ms = polling.clock.now_ms()
    await polling.advance(5)
    assert polling.epochs == 1
    assert polling.polled[-1].epoch_ms == polling.store.epoch_ms


async def test_lease_that_is_old_after_a_loss_counts_until_presence_is_restored(polling: Polling) -> None:
    await polling.report("bob")
    polling.store.away = True
    await polling.advance(2 * LEASE_MS / 1000)
    polling.store.away, polling.store.epoch_ms = False, polling.clock.now_ms()
    await polling.advance(4)
    assert polling.store.ended() == {}
    await polling.advance(2)
    assert polling.store.ended() == {"bob's": StreamState.SILENT}
