"""Uploads that a server left half completed: the next call completes them, and nothing of the first one stays.

The records and objects are put into the states that a server leaves when it is killed or frozen between two writes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, replace

import pytest
import uuid_utils

from devstack.stack import Stack
from media_service.access import MediaAccess
from media_service.collection.collector import Collector
from media_service.collection.times import CollectionTimes
from media_service.errors import MediaNotReady, QuotaExceeded
from media_service.model.media import FileDescription, MediaFacts, MediaFile, MediaKind, MediaState, sent_key
from media_service.processing.inspection import FileInspector
from media_service.processing.worker_pool import PoolLimits, WorkerPool
from media_service.storage.media_store import MongoMediaStore
from media_service.storage.s3 import S3ObjectStore
from media_service.uploads.completion import Completion
from media_service.uploads.uploads import UploadLimits, Uploads
from servicekit.clock import SystemClock
from servicekit.mongo import Database
from tests.clock import ManualClock
from tests.s3 import s3_settings

pytestmark = pytest.mark.integration

LEASE_S = 30.0
UNREFERENCED_S = 1000.0
TIMES = CollectionTimes(
    recheck_s=1000.0,
    pause_s=1.0,
    timeout_s=300.0,
    tombstone_s=600.0,
    adoption_s=60.0,
    rejected_s=1000.0,
    unreferenced_s=UNREFERENCED_S,
    scan_retry_s=1.0,
)
LIMITS = UploadLimits(1 << 20, 1 << 20, 10_000, 100, 100, UNREFERENCED_S)
DATA = b"\0plain\0" + os.urandom(1000)
DIGEST = hashlib.sha256(DATA).digest()


class AllReferenced:
    """A directory in which something refers to every file."""

    async def is_allowed(self, *_: str) -> bool:
        return True

    async def filter_referenced(self, media_ids: Collection[str]) -> set[str]:
        return set(media_ids)

    async def is_signed_in(self, *_: str) -> bool:
        return True


@dataclass
class Server:
    """The parts of a media server that complete, begin and collect files."""

    clock: ManualClock
    store: MongoMediaStore
    objects: S3ObjectStore
    completion: Completion
    uploads: Uploads
    collector: Collector

    async def begin(self, owner_id: str, *, in_parts: bool = False) -> MediaFile:
        """Begin an upload of DATA."""
        return await self.uploads.create(owner_id, new_uuid(), describe(DATA), in_parts=in_parts)

    async def upload(self, file: MediaFile) -> MediaFile:
        """Send DATA, as a client that repeats its call does."""
        found = await self.store.find(file.media_id)
        assert found is not None
        return await self.completion.stream(found, chunks_of(DATA))

    async def put(self, *keys: str) -> None:
        """Store objects, as a server does that was frozen before."""
        for key in keys:
            await self.objects.put(key, len(DATA), chunks_of(DATA))

    async def keys(self, *files: MediaFile) -> set[str]:
        """Return the keys of the objects that there are under the ids of files."""
        found = set()
        for file in files:
            for name in ("sent", "original", "thumbnail", "preview"):
                if await self.objects.size_of(f"{file.media_id}/{name}") is not None:
                    found.add(f"{file.media_id}/{name}")
        return found


@pytest.fixture
async def server(database: Database, seaweedfs: Stack) -> AsyncIterator[Server]:
    clock = ManualClock()
    store, objects = MongoMediaStore(database), S3ObjectStore(s3_settings(seaweedfs), SystemClock())
    await store.ensure_indexes()
    directory = AllReferenced()
    inspector = FileInspector(objects, WorkerPool(PoolLimits()), types=(), remove_metadata=True)
    completion = Completion(
        store, objects, inspector, clock, scan=False, unreferenced_s=UNREFERENCED_S, lease_s=LEASE_S
    )
    uploads = Uploads(store, objects, MediaAccess(store, directory, clock), LIMITS, clock)
    yield Server(clock, store, objects, completion, uploads, Collector(store, objects, directory, clock, TIMES))
    await objects.close()


def new_uuid() -> str:
    return str(uuid_utils.uuid4())


def new_owner() -> str:
    return uuid_utils.uuid4().hex


def describe(data: bytes) -> FileDescription:
    return FileDescription("notes.bin", "application/pdf", len(data))


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def leased(server: Server, file: MediaFile) -> None:
    """Give the file to a server that dies or freezes, until its lease expires."""
    now_ms = server.clock.now_ms()
    assert await server.store.lease(file.media_id, "first", now_ms, now_ms + 1000)


async def taken_over(server: Server, file: MediaFile) -> MediaFile:
    """Let the lease expire, and complete the file."""
    server.clock.advance(2.0)
    return await server.upload(file)


async def test_base_of_an_adoption_whose_twin_was_removed_is_not_kept(server: Server) -> None:
    owner = new_owner()
    twin = await server.upload(await server.begin(owner))
    file = await server.begin(owner)
    await leased(server, file)
    await server.store.adopt(file.media_id, "first", twin.media_id)
    # It is killed before it sees that the twin was removed just before.
    await server.store.remove(twin.media_id, [MediaState.READY], server.clock.now_ms())
    await server.objects.delete([sent_key(twin.media_id)])
    complete = await taken_over(server, file)
    assert complete.base_id == file.media_id
    assert await server.keys(file, twin) == {sent_key(file.media_id)}


async def test_sent_bytes_of_an_adoption_are_deleted_by_the_next_call(server: Server) -> None:
    owner = new_owner()
    twin = await server.upload(await server.begin(owner))
    file = await server.begin(owner)
    await leased(server, file)
    await server.put(sent_key(file.media_id))
    await server.store.adopt(file.media_id, "first", twin.media_id)
    await server.store.set_facts(file.media_id, "first", DIGEST, twin.known_facts)
    complete = await taken_over(server, file)
    assert (complete.state, complete.base_id) == (MediaState.READY, twin.media_id)
    assert await server.keys(file, twin) == {sent_key(twin.media_id)}
    # The bytes that they share count once.
    assert (await server.store.load_usage(owner)).size_bytes == len(DATA)


async def test_objects_that_a_frozen_server_writes_late_are_deleted_at_the_first_look(server: Server) -> None:
    owner = new_owner()
    twin = await server.upload(await server.begin(owner))
    file = await server.begin(owner)
    await leased(server, file)
    await taken_over(server, file)
    await server.put(sent_key(file.media_id), f"{file.media_id}/thumbnail", f"{twin.media_id}/preview")
    server.clock.advance(UNREFERENCED_S + 1)
    await server.collector.collect_due()
    # Only one server completed the twin: nothing can come late.
    assert await server.keys(file, twin) == {sent_key(twin.media_id), f"{twin.media_id}/preview"}
    found = await server.store.find(file.media_id)
    assert found is not None
    assert found.attempts == 1


async def test_server_that_lost_its_lease_does_not_remove_the_file(server: Server) -> None:
    owner = new_owner()
    file = await server.begin(owner, in_parts=True)
    file = await server.uploads.begin_parts(file)
    await server.put(sent_key(file.media_id))
    await server.objects.abort_parts(sent_key(file.media_id))
    real, taken = server.objects.size_of, []

    async def size_of(key: str) -> int | None:
        size = await real(key)
        taken.append(key)
        if len(taken) == 1:
            return size
        # It was frozen since it joined the parts; the other server has just deleted the sent bytes.
        server.clock.advance(LEASE_S + 1)
        now_ms = server.clock.now_ms()
        assert await server.store.lease(file.media_id, "second", now_ms, now_ms + 1000)
        return None

    server.objects.size_of = size_of  # type: ignore[method-assign]
    with pytest.raises(MediaNotReady):
        await server.completion.complete_parts(file)
    server.objects.size_of = real  # type: ignore[method-assign]
    facts = MediaFacts(MediaKind.FILE, "application/octet-stream", len(DATA), DIGEST)
    assert await server.store.set_facts(file.media_id, "second", DIGEST, facts)


async def test_upload_in_parts_that_comes_late_is_aborted(server: Server) -> None:
    file = await server.begin(new_owner(), in_parts=True)
    first = await server.uploads.begin_parts(file)
    # A server that was frozen knows nothing of the first one.
    again = await server.uploads.begin_parts(replace(first, upload_id=""))
    assert again.upload_id == first.upload_id
    key = sent_key(file.media_id)
    assert await server.objects.list_parts(key, first.upload_id) == []
    assert [each async for each in server.objects._list_uploads(key)] == [first.upload_id]


async def test_objects_of_a_refused_upload_are_deleted(server: Server) -> None:
    """Two calls of one request: one stores the bytes while the other finds that they exceed the quota."""
    owner, request_id = new_owner(), new_uuid()
    large = FileDescription("large.bin", "application/pdf", LIMITS.quota_bytes + 1)
    with pytest.raises(QuotaExceeded):
        await server.uploads.create(owner, request_id, large, in_parts=False)
    with pytest.raises(QuotaExceeded):
        await server.uploads.create(owner, request_id, large, in_parts=False)
    [file] = [each async for each in server.store._files.find({})]
    media_id = file["_id"].hex()
    await server.put(sent_key(media_id))
    await server.collector.collect_due()
    assert await server.objects.size_of(sent_key(media_id)) is None
    server.clock.advance(TIMES.tombstone_s + 1)
    await server.collector.collect_due()
    assert await server.store.find(media_id) is None
