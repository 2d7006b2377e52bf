"""The last times of users are stored behind their transitions, in batches, also after the store was away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from presence_service.reports.last_seen_writer import WRITE_BATCH, WRITE_INTERVAL_S, LastSeenWriter
from tests.eventually import eventually, run_ready
from tests.unit.presence.conftest import WatchingServer


@pytest.fixture
async def writer(server: WatchingServer) -> AsyncIterator[LastSeenWriter]:
    writer = LastSeenWriter(server.store, server.times, server.clock)
    running = asyncio.create_task(writer.run())
    await run_ready()
    yield writer
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_noted_users_are_stored_at_the_next_interval(server: WatchingServer, writer: LastSeenWriter) -> None:
    server.store.put("bob", seen_ms=5)
    server.store.put("carol", seen_ms=6)
    server.store.put("dave")
    writer.note(["bob", "dave", "bob"])
    await run_ready()
    assert server.times.seen_ms == {}
    server.clock.advance(WRITE_INTERVAL_S)
    await run_ready()
    assert server.times.seen_ms == {"bob": 5}, "dave never was in the foreground, and carol still may be"


async def test_more_users_than_a_batch_are_stored(server: WatchingServer, writer: LastSeenWriter) -> None:
    users = [str(number) for number in range(WRITE_BATCH + 1)]
    for user in users:
        server.store.put(user, seen_ms=5)
    writer.note(users)
    server.clock.advance(WRITE_INTERVAL_S)
    await run_ready()
    assert server.times.seen_ms == dict.fromkeys(users, 5)


async def test_users_noted_while_the_store_is_away_are_stored_later(
    server: WatchingServer, writer: LastSeenWriter
) -> None:
    server.store.put("bob", seen_ms=5)
    server.store.put("carol", seen_ms=6)
    server.store.away = True
    writer.note(["bob"])
    server.clock.advance(WRITE_INTERVAL_S)
    await run_ready()
    writer.note(["carol"])
    server.store.away = False
    await eventually(lambda: server.times.seen_ms == {"bob": 5, "carol": 6})
