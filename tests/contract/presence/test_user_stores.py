"""The stores of last-seen times and of visibility: in MongoDB, and in memory for the unit tests."""

from __future__ import annotations

import uuid

import pytest

from presence_service.model.ports import LastSeenStore, VisibilityStore
from presence_service.model.visibility import DEFAULT_VISIBILITY, Audience, Visibility
from presence_service.storage.last_seen import MongoLastSeenStore
from presence_service.storage.visibility import MongoVisibilityStore
from servicekit.mongo import Database
from tests.unit.presence.memory import MemorySettings, MemoryTimes

pytestmark = pytest.mark.integration

BOTH = pytest.mark.parametrize("kind", ["mongo", "memory"])


@pytest.fixture
def times(kind: str, database: Database) -> LastSeenStore:
    return MemoryTimes() if kind == "memory" else MongoLastSeenStore(database)


@pytest.fixture
def settings(kind: str, database: Database) -> VisibilityStore:
    return MemorySettings() if kind == "memory" else MongoVisibilityStore(database)


def new_id() -> str:
    return uuid.uuid4().hex


@BOTH
async def test_last_seen_time_only_rises_until_it_is_deleted(times: LastSeenStore) -> None:
    alice, bob, unknown = new_id(), new_id(), new_id()
    await times.raise_all({})
    await times.raise_all({alice: 5, bob: 7})
    await times.raise_all({alice: 4, bob: 8})
    assert await times.find_all([alice, bob, unknown]) == {alice: 5, bob: 8}
    assert await times.find_all([]) == {}
    for _ in range(2):
        await times.delete(alice)
    assert await times.find_all([alice, bob]) == {bob: 8}


@BOTH
async def test_change_of_one_field_of_the_visibility_keeps_the_other(settings: VisibilityStore) -> None:
    alice, bob = new_id(), new_id()
    assert await settings.update(alice, None, None) == DEFAULT_VISIBILITY
    assert await settings.update(alice, Audience.NOBODY, None) == Visibility(
        Audience.NOBODY, DEFAULT_VISIBILITY.last_seen
    )
    changed = Visibility(Audience.NOBODY, Audience.EVERYONE)
    assert await settings.update(alice, None, Audience.EVERYONE) == changed
    assert await settings.find_all([alice, bob]) == {alice: changed}
    for _ in range(2):
        await settings.delete(alice)
    assert await settings.find_all([alice]) == {}
