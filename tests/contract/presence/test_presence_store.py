"""Presence in a real Valkey: records, their publication, leases and epochs."""

from __future__ import annotations

import uuid

import pytest
from redis.asyncio import Redis

from presence_service.model.leases import CLAIM_MS, LEASE_MS, Leases
from presence_service.model.presence import (
    CLOSE_GRACE_MS,
    PresenceRecord,
    PresenceState,
    StreamState,
    Transition,
    observe,
)
from presence_service.storage.presence_store import (
    COMPLETE,
    LEASES,
    RedisPresenceStore,
    channel_of,
    decode_message,
    record_key,
)
from servicekit.errors import SessionSuperseded
from servicekit.redis_cluster import list_primaries, open_primary, primary_of
from tests.eventually import eventually

pytestmark = pytest.mark.integration

SERVER, INCARNATION = "chat-1:5101", 7_587_890_123_456_789


@pytest.fixture
def store(redis: Redis) -> RedisPresenceStore:
    return RedisPresenceStore(redis)


@pytest.fixture
def user() -> str:
    return uuid.uuid4().hex


def became(user: str, session: str, state: StreamState, age_ms: int = 0) -> Transition:
    return Transition(user, session, state, age_ms)


async def apply(
    store: RedisPresenceStore, *transitions: Transition, incarnation: int = INCARNATION, number: int = 1
) -> None:
    await store.apply(SERVER, incarnation, number, transitions)


async def presence(store: RedisPresenceStore, user: str) -> tuple[PresenceState, int]:
    leases = await store.poll()
    record = (await store.find_all([user]))[user]
    found = observe(record, lambda _server, _incarnation: float("inf"), leases.now_ms).presence
    return found.state, found.seen_ms


async def test_foreground_and_background_are_told_apart(store: RedisPresenceStore, user: str) -> None:
    assert await presence(store, user) == (PresenceState.OFFLINE, 0)
    await apply(store, became(user, "one", StreamState.BACKGROUND))
    assert await presence(store, user) == (PresenceState.BACKGROUND, 0)
    await apply(store, became(user, "two", StreamState.FOREGROUND))
    assert await presence(store, user) == (PresenceState.ONLINE, 0)
    await apply(store, became(user, "two", StreamState.BACKGROUND))
    state, seen_ms = await presence(store, user)
    assert state is PresenceState.BACKGROUND
    assert abs((await store.poll()).now_ms - seen_ms) < 5_000


async def test_stream_that_ends_for_good_ends_at_once(store: RedisPresenceStore, user: str) -> None:
    for state in (StreamState.SILENT, StreamState.SIGNED_OUT):
        await apply(store, became(user, "one", StreamState.FOREGROUND), became(user, "one", state))
        found, seen_ms = await presence(store, user)
        assert (found, seen_ms > 0) == (PresenceState.OFFLINE, True)


async def test_closed_stream_keeps_its_age(store: RedisPresenceStore, user: str) -> None:
    await apply(store, became(user, "one", StreamState.FOREGROUND))
    await apply(store, became(user, "one", StreamState.CLOSED, age_ms=1_000))
    [stream] = (await store.find_all([user]))[user].streams
    assert 1_000 <= (await store.poll()).now_ms - stream.closed_ms < 10_000
    # Closed a grace ago: it counts no more.
    await apply(store, became(user, "two", StreamState.FOREGROUND))
    await apply(store, became(user, "two", StreamState.CLOSED, age_ms=CLOSE_GRACE_MS))
    await apply(store, became(user, "one", StreamState.SILENT))
    assert (await presence(store, user))[0] is PresenceState.OFFLINE


async def test_repeated_and_late_transitions_change_nothing(store: RedisPresenceStore, redis: Redis, user: str) -> None:
    await apply(store, became(user, "one", StreamState.FOREGROUND))
    version = (await store.find_all([user]))[user].version
    await apply(store, became(user, "one", StreamState.FOREGROUND), became(user, "never", StreamState.CLOSED))
    await apply(store, became(user, "one", StreamState.CLOSED))
    closed = (await store.find_all([user]))[user]
    await apply(store, became(user, "one", StreamState.CLOSED))
    assert (await store.find_all([user]))[user] == closed
    assert closed.version > version
    assert await redis.pttl(record_key(user)) > 0


async def test_earlier_transition_that_arrives_late_changes_nothing(store: RedisPresenceStore, user: str) -> None:
    for state, sequence in ((StreamState.BACKGROUND, 2), (StreamState.CLOSED, 5), (StreamState.SILENT, 5)):
        await apply(store, Transition(user, "one", state, sequence=sequence))
        before = (await store.find_all([user]))[user]
        for late in (StreamState.FOREGROUND, StreamState.BACKGROUND, StreamState.CLOSED, StreamState.SIGNED_OUT):
            await apply(store, Transition(user, "one", late, sequence=sequence - 1))
        assert (await store.find_all([user]))[user] == before
    # What a presence server concludes comes after whatever was reported, and a later report after that.
    await apply(store, became(user, "one", StreamState.SILENT))
    await apply(store, Transition(user, "one", StreamState.FOREGROUND, sequence=5))
    assert (await presence(store, user))[0] is PresenceState.ONLINE


async def test_server_with_an_earlier_lease_changes_no_stream(store: RedisPresenceStore, user: str) -> None:
    await apply(store, became(user, "one", StreamState.FOREGROUND), number=1)
    before = (await store.find_all([user]))[user]
    await apply(store, became(user, "one", StreamState.FOREGROUND), number=2)
    assert (await store.find_all([user]))[user] == before, "the same stream under a later lease is no change"
    for state in (StreamState.SILENT, StreamState.CLOSED, StreamState.BACKGROUND):
        await apply(store, became(user, "one", state), number=1)
    assert (await store.find_all([user]))[user] == before
    await apply(store, became(user, "one", StreamState.SILENT), number=2)
    assert (await presence(store, user))[0] is PresenceState.OFFLINE


async def test_erased_record_is_published(store: RedisPresenceStore, redis: Redis, user: str) -> None:
    await apply(store, became(user, "one", StreamState.FOREGROUND))
    before = (await store.find_all([user]))[user]
    await list_primaries(redis)
    async with open_primary(redis, primary_of(redis, channel_of(user))) as primary, primary.pubsub() as pubsub:
        await pubsub.ssubscribe(channel_of(user))
        await store.delete(user)
        heard: list[PresenceRecord] = []

        async def erased() -> bool:
            message = await pubsub.get_message(timeout=0.1)
            if message is not None and message["type"] == "smessage":
                heard.append(decode_message(message["data"]))
            return bool(heard)

        await eventually(erased)
    assert (heard[0].is_erased, heard[0].streams, heard[0].seen_ms) == (True, (), 0)
    assert heard[0].version > before.version
    assert (await store.find_all([user]))[user].version == 0


async def test_record_without_open_streams_expires(store: RedisPresenceStore, redis: Redis, user: str) -> None:
    await apply(store, became(user, "one", StreamState.FOREGROUND), became(user, "one", StreamState.SILENT))
    assert await redis.pttl(record_key(user)) > 0
    await apply(store, became(user, "one", StreamState.FOREGROUND))
    assert await redis.pttl(record_key(user)) == -1


async def test_change_is_published_whole(store: RedisPresenceStore, redis: Redis, user: str) -> None:
    heard = []
    await list_primaries(redis)
    async with open_primary(redis, primary_of(redis, channel_of(user))) as primary, primary.pubsub() as pubsub:
        await pubsub.ssubscribe(channel_of(user))
        await apply(store, became(user, "one", StreamState.FOREGROUND), became(user, "two", StreamState.BACKGROUND))
        await apply(store, became(user, "two", StreamState.BACKGROUND))

        async def both() -> bool:
            message = await pubsub.get_message(timeout=0.1)
            if message is not None and message["type"] == "smessage":
                heard.append(decode_message(message["data"]))
            return len(heard) == 2

        await eventually(both)
        assert await pubsub.get_message(timeout=0.2) is None
    assert [len(record.streams) for record in heard] == [1, 2]
    assert heard[1] == (await store.find_all([user]))[user]
    [first] = heard[0].streams
    assert (first.server_id, first.incarnation, first.foreground, first.closed_ms) == (SERVER, INCARNATION, True, 0)


async def test_known_session_is_not_stored_again(store: RedisPresenceStore, user: str) -> None:
    opened = [became(user, each, StreamState.FOREGROUND) for each in ("one", "two")]
    await store.apply(SERVER, INCARNATION, 1, opened, known={"two"})
    assert await store.find_sessions(SERVER, INCARNATION) == {"one": user}
    assert len((await store.find_all([user]))[user].streams) == 2


async def test_completeness_is_removed_with_the_lease(store: RedisPresenceStore, redis: Redis) -> None:
    await store.complete_lease(SERVER, await store.open_lease(SERVER, INCARNATION, "first"))
    assert await store.claim_end(SERVER, INCARNATION, "first")
    await store.remove_lease(SERVER, INCARNATION)
    assert await redis.hgetall(COMPLETE) == {}


async def test_lease_that_has_ended_is_not_renewed(store: RedisPresenceStore, redis: Redis) -> None:
    await store.open_lease(SERVER, INCARNATION, "first")
    now_ms = (await store.poll()).now_ms
    await redis.hset(LEASES, SERVER, f"{INCARNATION} first {now_ms - LEASE_MS} 1")
    assert not await store.renew_lease(SERVER, "first")
    assert await store.claim_end(SERVER, INCARNATION)
    assert not await store.claim_end(SERVER, INCARNATION)
    # Else its streams would be ended under a report that has just begun.
    with pytest.raises(SessionSuperseded):
        await store.open_lease(SERVER, INCARNATION, "second")
    await redis.hset(LEASES, SERVER, f"{INCARNATION} ending {now_ms - CLAIM_MS} 1")
    assert await store.claim_end(SERVER, INCARNATION)
    await redis.hset(LEASES, SERVER, f"{INCARNATION} ending {now_ms - CLAIM_MS} 1")
    await store.open_lease(SERVER, INCARNATION, "second")
    assert not await store.claim_end(SERVER, INCARNATION)


async def test_epoch_begins_after_a_gap_and_after_a_loss(store: RedisPresenceStore, redis: Redis) -> None:
    first = await store.poll()
    assert first.epoch_ms == first.now_ms
    assert (await store.poll()).epoch_ms == first.epoch_ms

    async def time_passes() -> bool:
        leases = await store.poll()
        return leases.now_ms > leases.epoch_ms

    await eventually(time_passes)
    await redis.flushall()
    second: Leases = await store.poll()
    assert second.epoch_ms == second.now_ms > first.epoch_ms
    await eventually(time_passes)
    await redis.hset("presence:epoch", "alive", str(second.now_ms - 3_100))
    third = await store.poll()
    assert third.epoch_ms > second.epoch_ms
    # Another process of Redis, which may lack the last writes.
    await redis.hset("presence:epoch", mapping={"run": "0" * 40, "began": "1"})
    assert await store.find_epoch() >= third.epoch_ms
    assert await store.find_epoch() == (await store.poll()).epoch_ms


async def test_incarnation_keeps_all_its_digits(store: RedisPresenceStore, user: str) -> None:
    await store.open_lease(SERVER, INCARNATION, "first")
    await apply(store, became(user, "one", StreamState.FOREGROUND))
    assert (await store.poll()).by_server[SERVER].incarnation == INCARNATION
    assert (await store.find_all([user]))[user].streams[0].incarnation == INCARNATION
