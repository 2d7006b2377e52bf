"""Watchers are told changes together, at most once a second, and nothing that is not known."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from presence_service.model.leases import LEASE_MS, RESTORE_MS, Lease
from presence_service.model.presence import CLOSE_GRACE_MS, PresenceRecord
from presence_service.model.visibility import Audience, Permission, Visibility
from presence_service.watching.observer import MAX_POLL_AGE_MS, RETRY_AFTER_S
from presence_service.watching.watches import TICK_S, USER_INTERVAL_S
from servicekit.errors import ServiceUnavailable, StoreUnavailable
from tests.eventually import run_ready
from tests.unit.presence.conftest import WatchingServer

ALICE, BOB, CAROL, DAVE = "a" * 32, "b" * 32, "c" * 32, "d" * 32


async def test_watch_begins_with_the_present_state_of_every_user(server: WatchingServer) -> None:
    server.change(BOB, server.stream())
    server.change(CAROL, server.stream(foreground=False))
    _, states = await server.watch(ALICE, BOB, CAROL, DAVE)
    assert states == ["ONLINE", "BACKGROUND", "OFFLINE"]
    assert server.channels.heard == {BOB, CAROL, DAVE}


async def test_changes_of_one_tick_are_told_together(server: WatchingServer) -> None:
    await server.watch(ALICE, BOB, CAROL)
    server.change(BOB, server.stream())
    server.change(CAROL, server.stream())
    await run_ready()
    assert server.told == []
    await server.advance(2 * TICK_S)
    [told] = server.told
    assert sorted(told) == [(BOB, "ONLINE"), (CAROL, "ONLINE")]


async def test_user_is_told_at_most_once_a_second(server: WatchingServer) -> None:
    await server.watch(ALICE, BOB)
    server.change(BOB, server.stream())
    await server.advance(2 * TICK_S)
    server.change(BOB, server.stream(foreground=False))
    await server.advance(USER_INTERVAL_S - 2 * TICK_S)
    assert server.told == [[(BOB, "ONLINE")]]
    await server.advance(4 * TICK_S)
    assert server.told == [[(BOB, "ONLINE")], [(BOB, "BACKGROUND")]]


async def test_change_that_was_undone_meanwhile_is_not_told(server: WatchingServer) -> None:
    await server.watch(ALICE, BOB)
    server.change(BOB, server.stream())
    await server.advance(2 * TICK_S)
    for foreground in (False, True):
        server.change(BOB, server.stream(foreground=foreground))
        await run_ready()
    await server.advance(2 * USER_INTERVAL_S)
    assert server.told == [[(BOB, "ONLINE")]]


async def test_closed_stream_is_told_offline_after_the_grace(server: WatchingServer) -> None:
    server.change(BOB, server.stream())
    await server.watch(ALICE, BOB)
    server.change(BOB, server.stream(closed=True))
    await server.advance(CLOSE_GRACE_MS / 1000 - TICK_S)
    assert server.told == []
    await server.advance(4 * TICK_S)
    assert server.told == [[(BOB, "OFFLINE")]]


async def test_stream_of_dead_server_is_told_offline_once_the_lease_has_ended(server: WatchingServer) -> None:
    server.change(BOB, server.stream())
    await server.watch(ALICE, BOB)
    for _ in range(LEASE_MS // 500 - 1):
        server.clock.advance(0.5)
        await server.poll()
    assert server.told == []
    for _ in range(3):
        server.clock.advance(0.5)
        await server.poll()
    assert server.told == [[(BOB, "OFFLINE")]]


async def test_time_stands_still_without_the_store(server: WatchingServer) -> None:
    server.change(BOB, server.stream())
    server.change(CAROL, server.stream())
    await server.watch(ALICE, BOB, CAROL)
    server.change(CAROL, server.stream(closed=True))
    await server.advance(3 * LEASE_MS / 1000, polling=False)
    assert server.told == [], "nobody goes because presence cannot be read"
    assert MAX_POLL_AGE_MS < CLOSE_GRACE_MS
    server.renew()
    await server.poll()
    await server.advance(2 * TICK_S)
    assert server.told == [[(CAROL, "OFFLINE")]]


async def test_older_record_does_not_replace_a_newer_one(server: WatchingServer) -> None:
    await server.watch(ALICE, BOB)
    old = server.store.put(BOB)
    server.change(BOB, server.stream())
    await server.advance(2 * TICK_S)
    server.observer.on_record(BOB, old)
    await server.advance(2 * USER_INTERVAL_S)
    assert server.told == [[(BOB, "ONLINE")]]


async def test_missing_record_is_older_than_a_message_that_came_during_the_read(server: WatchingServer) -> None:
    server.store.answers.clear()
    starting = asyncio.create_task(server.watch(ALICE, BOB))
    await run_ready()
    server.change(BOB, server.stream())
    server.store.answers.set()
    _, states = await starting
    assert states == ["ONLINE"]
    record = server.store.records.pop(BOB)
    server.store.answers.clear()
    reading = asyncio.create_task(server.observer.read_again())
    await run_ready()
    server.observer.on_record(BOB, replace(record, version=record.version + 1))
    server.store.answers.set()
    await reading
    await server.advance(2 * TICK_S)
    assert server.told == []


async def test_lost_record_proves_nothing_until_presence_is_restored(server: WatchingServer) -> None:
    for user in (BOB, CAROL):
        server.change(user, server.stream())
    await server.watch(ALICE, BOB, CAROL)
    await server.advance(2 * TICK_S)
    server.store.records.clear()
    server.store.leases.clear()
    server.store.epoch_ms = server.clock.now_ms()
    await server.poll()
    await server.observer.read_again()
    await server.advance(RESTORE_MS / 1000 - 1)
    # Carol is not reported again: she is gone for good.
    server.store.records[BOB] = PresenceRecord((server.stream(),), version=server.clock.now_ms())
    server.observer.on_record(BOB, server.store.records[BOB])
    await server.advance(1 - TICK_S)
    assert server.told == []
    await server.advance(4 * TICK_S)
    assert server.told == [[(CAROL, "OFFLINE")]]


async def test_lost_record_proves_nothing_while_a_chat_server_still_reports(server: WatchingServer) -> None:
    for user in (BOB, CAROL):
        server.change(user, server.stream())
    await server.watch(ALICE, BOB, CAROL)
    await server.advance(2 * TICK_S)
    server.store.records.clear()
    server.store.epoch_ms = server.clock.now_ms()
    server.store.leases["chat-2"] = Lease(1, server.clock.now_ms() + 2 * RESTORE_MS, is_complete=False), "report"
    await server.poll()
    await server.observer.read_again()
    await server.advance(2 * RESTORE_MS / 1000)
    with pytest.raises(StoreUnavailable):
        await server.watches.find(ALICE, [BOB])
    # Carol is not reported again: she is gone for good.
    server.store.records[BOB] = PresenceRecord((server.stream(),), version=server.clock.now_ms())
    server.observer.on_record(BOB, server.store.records[BOB])
    assert server.told == []
    await server.store.complete_lease("chat-2", 0)
    await server.advance(4 * TICK_S)
    assert server.told == [[(CAROL, "OFFLINE")]]


async def test_user_who_is_reported_in_part_looks_as_before_until_presence_is_restored(server: WatchingServer) -> None:
    for user in (BOB, CAROL):
        server.change(user, server.stream(), server.stream(foreground=False))
    await server.watch(ALICE, BOB, CAROL)
    await server.advance(2 * TICK_S)
    server.store.epoch_ms = server.clock.now_ms()
    await server.poll()
    # The chat server of their phones reports later than that of their tablets.
    for user in (BOB, CAROL):
        server.change(user, server.stream(foreground=False))
    await server.advance(1)
    server.change(BOB, server.stream(foreground=False), server.stream())
    await server.advance(RESTORE_MS / 1000 - 1 - 2 * TICK_S)
    assert server.told == []
    await server.advance(6 * TICK_S)
    assert server.told == [[(CAROL, "BACKGROUND")]], "her phone did not come back"


async def test_loss_that_is_read_before_it_is_polled_is_not_told(server: WatchingServer) -> None:
    server.change(BOB, server.stream())
    await server.watch(ALICE, BOB)
    await server.advance(2 * TICK_S)
    record = server.store.records.pop(BOB)
    server.store.epoch_ms = server.clock.now_ms()
    server.observer.on_reconnected()
    await run_ready()
    with pytest.raises(StoreUnavailable):
        await server.watches.find(ALICE, [BOB])
    server.store.records[BOB] = record
    await server.advance(RESTORE_MS / 1000 + 1)
    assert server.told == []


async def test_records_are_read_again_soon_after_a_failure(server: WatchingServer) -> None:
    await server.watch(ALICE, BOB)
    server.store.put(BOB, server.stream())
    server.store.away = True
    server.observer.on_reconnected()
    await run_ready()
    server.store.away = False
    await server.advance(RETRY_AFTER_S + 2 * TICK_S)
    assert server.told == [[(BOB, "ONLINE")]]


async def test_watch_of_a_lost_record_waits_until_presence_is_restored(server: WatchingServer) -> None:
    server.store.epoch_ms = server.clock.now_ms()
    await server.poll()
    with pytest.raises(StoreUnavailable):
        await server.watch(ALICE, BOB)
    with pytest.raises(StoreUnavailable):
        await server.watches.find(ALICE, [BOB])
    await server.advance(RESTORE_MS / 1000 + TICK_S)
    _, states = await server.watch(ALICE, BOB)
    assert states == ["OFFLINE"]


async def test_permissions_that_change_while_a_watch_begins_are_decided_again(server: WatchingServer) -> None:
    server.change(BOB, server.stream())
    server.directory.answers.clear()
    beginning = asyncio.create_task(server.watch(ALICE, BOB))
    await run_ready()
    server.directory.blocked.add((BOB, ALICE))
    server.watches.note_permissions_changed([BOB, ALICE])
    server.directory.answers.set()
    _, states = await beginning
    assert states == ["OFFLINE"]
    assert len(server.directory.asked) == 2


async def test_other_permissions_are_told_at_once(server: WatchingServer) -> None:
    server.change(BOB, server.stream())
    await server.watch(ALICE, BOB)
    for permission, state in ((Permission.NOTHING, "OFFLINE"), (Permission.ONLINE, "ONLINE")):
        server.watches.replace_permissions(ALICE, {BOB: permission})
        assert server.told.pop() == [(BOB, state)]
    server.watches.replace_permissions(ALICE, {BOB: Permission.LAST_SEEN})
    assert server.told == [], "it looks the same"


async def test_last_time_that_redis_lost_is_known_from_the_database(server: WatchingServer) -> None:
    server.times.seen_ms[BOB] = 5_000
    await server.watch(ALICE, BOB)
    [found] = await server.watches.find(ALICE, [BOB])
    assert found.seen_ms == 5_000
    server.settings.settings[BOB] = Visibility(last_seen=Audience.NOBODY)
    [found] = await server.watches.find(ALICE, [BOB])
    assert found.seen_ms == 0


async def test_end_of_the_last_watch_forgets_the_user(server: WatchingServer) -> None:
    server.change(BOB, server.stream())
    first, _ = await server.watch(ALICE, BOB)
    second, _ = await server.watch(CAROL, BOB)
    server.watches.end(first)
    assert server.watches.viewers_of(BOB) == {CAROL}
    server.change(BOB, server.stream(closed=True))
    server.watches.end(second)
    await server.advance(CLOSE_GRACE_MS / 1000 + 1)
    assert server.told == []
    assert server.watches.watched_by(CAROL) == server.watches.viewers_of(BOB) == set()
    server.observer.on_reconnected()
    await run_ready()
    assert server.channels.heard == set()


async def test_watch_that_cannot_begin_leaves_nothing(server: WatchingServer) -> None:
    server.directory.away = True
    with pytest.raises(ServiceUnavailable):
        await server.watch(ALICE, BOB)
    server.change(BOB, server.stream())
    await server.advance(2 * TICK_S)
    assert server.told == []
    server.observer.on_reconnected()
    await run_ready()
    assert server.channels.heard == set()


async def test_presences_have_the_order_of_the_request_also_of_oneself(server: WatchingServer) -> None:
    server.change(ALICE, server.stream())
    server.change(CAROL, server.stream(foreground=False))
    _, states = await server.watch(ALICE, ALICE, BOB, CAROL)
    assert states == ["ONLINE", "OFFLINE", "BACKGROUND"]


async def test_older_version_counts_after_a_loss(server: WatchingServer) -> None:
    await server.watch(ALICE, BOB)
    server.observer.on_record(BOB, PresenceRecord((server.stream(),), version=1_000_000))
    await server.advance(2 * TICK_S)
    assert server.told == [[(BOB, "ONLINE")]]
    server.observer.on_record(BOB, PresenceRecord(version=999_999))
    await server.advance(USER_INTERVAL_S + 2 * TICK_S)
    assert server.told == [[(BOB, "ONLINE")]], "a message that was delayed"
    # The clock of another Redis is behind.
    server.store.epoch_ms = server.clock.now_ms() - RESTORE_MS
    server.store.records[BOB] = PresenceRecord(version=3)
    await server.poll()
    server.observer.on_record(BOB, PresenceRecord(version=3))
    await server.advance(USER_INTERVAL_S + 2 * TICK_S)
    assert server.told == [[(BOB, "ONLINE")], [(BOB, "OFFLINE")]]


async def test_erased_user_loses_the_last_time(server: WatchingServer) -> None:
    server.times.seen_ms[BOB] = 1_234_000
    _, [before] = await server.watches.start(ALICE, [BOB], lambda _: None)
    assert before.seen_ms == 1_234_000
    server.times.seen_ms.clear()
    server.observer.on_record(BOB, PresenceRecord(version=2, is_erased=True))
    _, [after] = await server.watches.start(CAROL, [BOB], lambda _: None)
    assert after.seen_ms == 0
