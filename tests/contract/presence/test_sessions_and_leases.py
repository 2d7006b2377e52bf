"""Sessions and leases of PresenceStore: in Redis, and in the memory store of the unit tests."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from presence_service.model.ports import PresenceStore
from presence_service.model.presence import StreamState, Transition
from presence_service.storage.presence_store import RedisPresenceStore
from servicekit.errors import SessionSuperseded
from servicekit.redis import connect_redis
from tests.clock import ManualClock
from tests.unit.presence.memory import MemoryPresenceStore

pytestmark = pytest.mark.integration

SERVER, INCARNATION = "chat-1:5101", 7_587_890_123_456_789


@pytest.fixture(params=["one Redis", "cluster", "memory"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[PresenceStore]:
    if request.param == "memory":
        yield MemoryPresenceStore(ManualClock())
        return
    is_cluster = request.param == "cluster"
    server = (
        request.getfixturevalue("valkey_cluster").url if is_cluster else request.getfixturevalue("valkey").redis_url
    )
    client = connect_redis(server, cluster=is_cluster)
    await client.flushall()
    yield RedisPresenceStore(client)
    await client.aclose()


@pytest.fixture
def user() -> str:
    return uuid.uuid4().hex


def became(user: str, session: str, state: StreamState) -> Transition:
    return Transition(user, session, state)


async def apply(store: PresenceStore, *transitions: Transition, incarnation: int = INCARNATION) -> None:
    await store.apply(SERVER, incarnation, 1, transitions)


async def test_sessions_of_a_server_are_known_until_they_end(store: PresenceStore, user: str) -> None:
    await apply(store, became(user, "one", StreamState.FOREGROUND), became(user, "two", StreamState.BACKGROUND))
    await apply(store, became(user, "one", StreamState.CLOSED))
    await apply(store, became(user, "of another", StreamState.FOREGROUND), incarnation=2)
    assert await store.find_sessions(SERVER, INCARNATION) == {"two": user}
    await apply(store, became(user, "two", StreamState.SILENT))
    assert await store.find_sessions(SERVER, INCARNATION) == {}


async def test_lease_belongs_to_the_newest_report(store: PresenceStore) -> None:
    assert await store.find_lease(SERVER) is None
    first = await store.open_lease(SERVER, INCARNATION, "first")
    assert await store.renew_lease(SERVER, "first")
    second = await store.open_lease(SERVER, INCARNATION, "second")
    assert not await store.renew_lease(SERVER, "first")
    assert await store.renew_lease(SERVER, "second")
    third = await store.open_lease(SERVER, INCARNATION + 1, "third")
    assert await store.renew_lease(SERVER, "third")
    assert first < second < third
    lease = await store.find_lease(SERVER)
    assert lease is not None
    assert (lease.incarnation, lease.number, lease.is_ending) == (INCARNATION + 1, third, False)


async def test_lease_is_complete_until_the_next_one(store: PresenceStore) -> None:
    async def is_complete() -> bool:
        return (await store.poll()).by_server[SERVER].is_complete

    first = await store.open_lease(SERVER, INCARNATION, "first")
    assert not await is_complete()
    await store.complete_lease(SERVER, first)
    assert await is_complete()
    assert await store.renew_lease(SERVER, "first")
    assert await is_complete()
    second = await store.open_lease(SERVER, INCARNATION, "second")
    assert not await is_complete()
    await store.complete_lease(SERVER, second)
    assert await is_complete()


async def test_goodbye_voids_the_lease_of_its_report_alone(store: PresenceStore) -> None:
    await store.open_lease(SERVER, INCARNATION, "first")
    await store.open_lease(SERVER, INCARNATION, "second")
    assert not await store.claim_end(SERVER, INCARNATION, "first")
    assert not await store.claim_end(SERVER, INCARNATION)
    assert await store.claim_end(SERVER, INCARNATION, "second")
    # Its streams are closed, not dead: they count for the grace.
    assert (await store.poll()).alive == {(SERVER, INCARNATION)}
    with pytest.raises(SessionSuperseded):
        await store.open_lease(SERVER, INCARNATION, "third")
    await store.remove_lease(SERVER, INCARNATION + 1)
    await store.remove_lease(SERVER, INCARNATION)
    assert (await store.poll()).by_server == {}
    await store.open_lease(SERVER, INCARNATION, "third")
