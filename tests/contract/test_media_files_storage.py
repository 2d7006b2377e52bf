"""The records of files: each change starts from the state that it names, and of two concurrent ones one is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import uuid_utils

from media_service.errors import field_invalid
from media_service.model.media import (
    FileDescription,
    MediaFacts,
    MediaFile,
    MediaKind,
    MediaState,
    StoredVariant,
    Variant,
)
from media_service.model.media_store import Usage
from media_service.storage.media_store import MongoMediaStore
from servicekit.mongo import Database

pytestmark = pytest.mark.integration

HOUR_MS = 3_600_000
DUE_STATES = (MediaState.UPLOADING, MediaState.READY)
DIGEST = b"d" * 32
FACTS = MediaFacts(
    MediaKind.IMAGE,
    "image/png",
    1234,
    b"s" * 32,
    rewritten=True,
    width=640,
    height=480,
    duration_ms=1500,
    thumbhash=b"hash",
    variants={Variant.THUMBNAIL: StoredVariant("image/webp", 99, 320, 240)},
)


@pytest.fixture
async def store(database: Database) -> MongoMediaStore:
    store = MongoMediaStore(database)
    await store.ensure_indexes()
    return store


def new_id() -> str:
    return uuid_utils.uuid4().hex


def new_file(owner_id: str | None = None, *, size: int = 2000, request: bytes | None = None) -> MediaFile:
    media_id = new_id()
    return MediaFile(
        media_id=media_id,
        owner_id=owner_id or new_id(),
        request_id=request or uuid_utils.uuid4().bytes,
        state=MediaState.UPLOADING,
        description=FileDescription("räksmörgås.png", "image/png", size, DIGEST, b"\x00\xff"),
        create_ms=1000,
        expire_ms=1000 + HOUR_MS,
        base_id=media_id,
        in_parts=True,
    )


async def insert_ready(store: MongoMediaStore, file: MediaFile, due_ms: int = HOUR_MS) -> MediaFile:
    await store.insert(file)
    await store.lease(file.media_id, "holder", 0, HOUR_MS)
    await store.set_facts(file.media_id, "holder", DIGEST, FACTS)
    finished = await store.finish(file.media_id, "holder", MediaState.READY, stored_bytes=1234, due_ms=due_ms)
    assert finished is not None
    return finished


async def test_inserted_file_is_found_unchanged(store: MongoMediaStore) -> None:
    file = new_file()
    assert await store.insert(file) == file
    assert await store.find(file.media_id) == file
    assert await store.find(new_id()) is None


async def test_repeated_request_finds_its_first_file(store: MongoMediaStore) -> None:
    first = new_file()
    await store.insert(first)
    repeat = new_file(first.owner_id, request=first.request_id)
    assert await store.insert(repeat) == first
    assert await store.find(repeat.media_id) is None
    # The same request id of another user is another request.
    other = new_file(request=first.request_id)
    assert await store.insert(other) == other


async def test_completed_file_has_its_facts(store: MongoMediaStore) -> None:
    file = new_file()
    finished = await insert_ready(store, file)
    assert finished == replace(file, state=MediaState.READY, facts=FACTS, attempts=1)
    assert await store.find(file.media_id) == finished


async def test_lease_belongs_to_one_holder_until_it_expires(store: MongoMediaStore) -> None:
    file = await store.insert(new_file())
    assert await store.lease(file.media_id, "a", 100, 200) == replace(file, attempts=1)
    assert await store.lease(file.media_id, "b", 150, 250) is None
    assert await store.lease(file.media_id, "a", 150, 260) == replace(file, attempts=1)
    assert await store.lease(file.media_id, "b", 261, 300) == replace(file, attempts=2)
    # What "a" has not noticed does not count.
    assert not await store.set_facts(file.media_id, "a", DIGEST, FACTS)
    assert not await store.adopt(file.media_id, "a", new_id())
    assert await store.finish(file.media_id, "a", MediaState.READY, stored_bytes=1, due_ms=1) is None
    assert not await store.remove(file.media_id, [MediaState.UPLOADING], 1, holder="a")
    await store.release(file.media_id, "a")
    assert await store.lease(file.media_id, "c", 270, 300) is None
    await store.release(file.media_id, "b")
    assert await store.lease(file.media_id, "c", 270, 300) == replace(file, attempts=3)
    await store.reset_attempts(file.media_id)
    assert await store.find(file.media_id) == replace(file, attempts=1)
    assert await store.remove(file.media_id, [MediaState.UPLOADING], 1, holder="c")


async def test_upload_expires_unless_it_is_being_completed(store: MongoMediaStore) -> None:
    file = await store.insert(new_file())
    await store.lease(file.media_id, "a", 100, 200)
    assert not await store.expire(file.media_id, 150)
    assert await store.expire(file.media_id, 201)
    assert not await store.expire(file.media_id, 202)
    complete = await insert_ready(store, new_file())
    assert not await store.expire(complete.media_id, 2 * HOUR_MS)


async def test_complete_file_has_no_lease(store: MongoMediaStore) -> None:
    file = await insert_ready(store, new_file())
    assert await store.lease(file.media_id, "another", HOUR_MS * 2, HOUR_MS * 3) is None


async def test_usage_counts_shared_bytes_once(store: MongoMediaStore) -> None:
    owner = new_id()
    await insert_ready(store, new_file(owner))
    await store.insert(new_file(owner, size=500))
    twin = new_file(owner)
    await store.insert(twin)
    await store.lease(twin.media_id, "holder", 0, HOUR_MS)
    await store.finish(twin.media_id, "holder", MediaState.READY, stored_bytes=0, due_ms=0)
    removed = await store.insert(new_file(owner))
    await store.remove(removed.media_id, [MediaState.UPLOADING], 5)
    await store.insert(new_file())
    assert await store.load_usage(owner) == Usage(files=3, size_bytes=1734, uploads=1)
    assert await store.load_usage(new_id()) == Usage(0, 0, 0)


async def test_identical_file_is_of_the_same_owner_and_ready(store: MongoMediaStore) -> None:
    file = await insert_ready(store, new_file())
    same = new_file(file.owner_id)
    assert await store.find_identical(same, DIGEST) == file
    assert await store.find_identical(same, b"x" * 32) is None
    assert await store.find_identical(new_file(), DIGEST) is None
    opaque = replace(same, description=replace(same.description, content_type="application/octet-stream"))
    assert await store.find_identical(opaque, DIGEST) is None
    await store.remove(file.media_id, [MediaState.READY], 5)
    assert await store.find_identical(same, DIGEST) is None


async def test_owned_files_are_listed_in_pages(store: MongoMediaStore) -> None:
    owner = new_id()
    ids = sorted([(await store.insert(new_file(owner))).media_id for _ in range(5)])
    removed = await store.insert(new_file(owner))
    await store.remove(removed.media_id, [MediaState.UPLOADING], 5)
    assert [file.media_id for file in await store.list_owned(owner, "", 3)] == ids[:3]
    assert [file.media_id for file in await store.list_owned(owner, ids[2], 3)] == ids[3:]


async def test_first_upload_id_is_kept(store: MongoMediaStore) -> None:
    file = await store.insert(new_file())
    assert await store.set_upload_id(file.media_id, "first")
    assert not await store.set_upload_id(file.media_id, "second")
    found = await store.find(file.media_id)
    assert found is not None
    assert found.upload_id == "first"


async def test_removed_file_keeps_its_failure(store: MongoMediaStore) -> None:
    file = await store.insert(new_file())
    failure = field_invalid("file.sha256", "is not the digest")
    assert await store.remove(file.media_id, [MediaState.UPLOADING], 77, failure)
    assert not await store.remove(file.media_id, [MediaState.UPLOADING], 78)
    found = await store.find(file.media_id)
    assert found is not None
    assert (found.state, found.remove_ms) == (MediaState.REMOVED, 77)
    assert found.failure is not None
    assert (found.failure.reason, found.failure.violations) == ("FIELD_INVALID", failure.violations)
    assert type(found.failure) is type(failure)


async def test_due_file_is_taken_once(store: MongoMediaStore) -> None:
    early, late = await store.insert(new_file()), await insert_ready(store, new_file(), due_ms=10 * HOUR_MS)
    now = early.expire_ms
    assert [file.media_id for file in await store.take_due(DUE_STATES, "m1", now, now + 50, 10)] == [early.media_id]
    assert await store.take_due(DUE_STATES, "m2", now, now + 50, 10) == []
    # Its server has died.
    assert [file.media_id for file in await store.take_due(DUE_STATES, "m3", now + 50, now + 99, 10)] == [
        early.media_id
    ]
    await store.postpone([early.media_id], "m1", 0)
    assert await store.take_due(DUE_STATES, "m4", now + 50, now + 99, 10) == []
    await store.postpone([early.media_id], "m3", 0)
    assert [file.media_id for file in await store.take_due(DUE_STATES, "m5", 0, 1, 10)] == [early.media_id]
    found = {file.media_id for file in await store.take_due(DUE_STATES, "m6", 20 * HOUR_MS, 30 * HOUR_MS, 10)}
    assert found == {early.media_id, late.media_id}


async def test_claim_wins_over_a_mark(store: MongoMediaStore) -> None:
    claimed = await insert_ready(store, new_file(), due_ms=0)
    unclaimed = await insert_ready(store, new_file(), due_ms=0)
    ids = {claimed.media_id, unclaimed.media_id}
    assert {file.media_id for file in await store.take_due(DUE_STATES, "m", 10, 20, 10)} == ids
    assert await store.claim([claimed.media_id], 500) == {claimed.media_id}
    await store.remove_marked(ids, "m", 10)
    states = {media_id: file.state for media_id, file in (await store.find_all(ids)).items()}
    assert states == {claimed.media_id: MediaState.READY, unclaimed.media_id: MediaState.REMOVED}
    assert await store.claim([unclaimed.media_id, claimed.media_id], 600) == {claimed.media_id}
    found = await store.find(claimed.media_id)
    assert found is not None
    assert (found.claimed_until_ms, found.expire_ms) == (600, 0)


async def test_file_that_was_claimed_before_the_mark_is_not_removed(store: MongoMediaStore) -> None:
    file = await insert_ready(store, new_file(), due_ms=0)
    await store.claim([file.media_id], 500)
    await store.take_due(DUE_STATES, "m", 10, 20, 10)
    await store.remove_marked([file.media_id], "m", 499)
    assert (await store.find_all([file.media_id]))[file.media_id].state is MediaState.READY
    await store.remove_marked([file.media_id], "m", 501)
    assert (await store.find_all([file.media_id]))[file.media_id].state is MediaState.REMOVED


async def test_users_of_objects_are_the_visible_files(store: MongoMediaStore) -> None:
    base = await insert_ready(store, new_file())
    user = new_file(base.owner_id)
    await store.insert(user)
    await store.lease(user.media_id, "holder", 0, HOUR_MS)
    await store.adopt(user.media_id, "holder", base.media_id)
    assert [file.media_id for file in await store.list_users_of(base.media_id, base.media_id)] == [user.media_id]
    assert [file.media_id for file in await store.list_users_of(base.media_id, user.media_id)] == [base.media_id]
    await store.remove(base.media_id, [MediaState.READY], 5)
    assert await store.list_users_of(base.media_id, user.media_id) == []


async def test_scan_is_decided_once(store: MongoMediaStore) -> None:
    file = new_file()
    await store.insert(file)
    await store.lease(file.media_id, "holder", 0, HOUR_MS)
    await store.set_facts(file.media_id, "holder", DIGEST, FACTS)
    await store.finish(file.media_id, "holder", MediaState.SCANNING, stored_bytes=1234, due_ms=0)
    assert await store.claim([file.media_id], HOUR_MS) == set()
    assert await store.decide_scan(file.media_id, MediaState.REJECTED, due_ms=HOUR_MS, expire_ms=HOUR_MS)
    assert not await store.decide_scan(file.media_id, MediaState.READY, due_ms=HOUR_MS, expire_ms=HOUR_MS)


async def test_only_a_removed_file_is_deleted(store: MongoMediaStore) -> None:
    file = await insert_ready(store, new_file())
    await store.delete(file.media_id)
    assert await store.find(file.media_id) is not None
    await store.remove(file.media_id, [MediaState.READY], 5)
    await store.delete(file.media_id)
    assert await store.find(file.media_id) is None
