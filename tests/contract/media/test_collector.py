"""The collector on a real mongod: a part that fails delays its own files alone."""

from __future__ import annotations

import asyncio

import pytest
import uuid_utils

from media_service.collection.scan_job import ScanJob
from media_service.collection.scanner import ScannerUnavailable
from media_service.model.media import MediaFile, MediaState, sent_key
from servicekit.mongo import Database
from tests.contract.media.environment import DAY_S, TIMES, MediaEnvironment, chunks_of
from tests.eventually import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
async def media(database: Database) -> MediaEnvironment:
    media = MediaEnvironment(database)
    await media.store.ensure_indexes()
    return media


class FakeScanner:
    """A Scanner with one verdict; None: it is unavailable."""

    def __init__(self, *, clean: bool | None) -> None:
        self._clean = clean

    async def is_clean(self, _: MediaFile) -> bool:
        """See Scanner."""
        if self._clean is None:
            raise ScannerUnavailable
        return self._clean


async def scan(media: MediaEnvironment, data: bytes, *, clean: bool | None) -> MediaFile:
    """Return a file after its scan."""
    file = await media.begin(uuid_utils.uuid4().hex, data)
    file = await media.new_completion(scan=True).stream(file, chunks_of(data))
    assert file.state is MediaState.SCANNING
    now_ms = media.clock.now_ms()
    assert await media.store.take_due([MediaState.SCANNING], "m", now_ms, now_ms + 1000, 10) == [file]
    await ScanJob(media.store, FakeScanner(clean=clean), media.clock, TIMES).scan(file, "m")  # type: ignore[arg-type]
    return await media.find(file.media_id)


async def test_directory_that_is_down_delays_no_deletion(media: MediaEnvironment) -> None:
    owner = uuid_utils.uuid4().hex
    kept, removed = await media.upload(owner, b"kept"), await media.upload(owner, b"removed")
    media.clock.advance(DAY_S)
    await media.store.remove(removed.media_id, [MediaState.READY], media.clock.now_ms())
    media.directory.down = True
    assert await media.collector.collect_due() == 2
    assert set(media.objects.objects) == {sent_key(kept.media_id)}
    # The check is made once the directory answers.
    media.directory.down = False
    media.clock.advance(TIMES.timeout_s)
    await media.collector.collect_due()
    assert (await media.find(kept.media_id)).state is MediaState.REMOVED


async def test_bytes_of_shared_objects_count_for_the_file_that_stays(media: MediaEnvironment) -> None:
    owner = uuid_utils.uuid4().hex
    first, second = await media.upload(owner, b"12345"), await media.upload(owner, b"12345")
    third = await media.upload(owner, b"12345")
    assert {second.base_id, third.base_id} == {first.media_id}
    assert await media.quota_used(owner) == 5
    media.directory.referenced = {second.media_id, third.media_id}
    media.clock.advance(DAY_S)
    for _ in range(2):
        await media.collector.collect_due()
    assert (await media.find(first.media_id)).state is MediaState.REMOVED
    assert await media.quota_used(owner) == 5


async def test_bytes_of_a_rejected_file_are_deleted_once_the_store_answers(media: MediaEnvironment) -> None:
    file = await scan(media, b"a virus", clean=False)
    assert file.state is MediaState.REJECTED
    media.objects.broken = True
    await media.collector.collect_due()
    assert media.objects.objects
    media.objects.broken = False
    media.clock.advance(TIMES.timeout_s)
    await media.collector.collect_due()
    assert not media.objects.objects
    assert (await media.find(file.media_id)).state is MediaState.REJECTED
    media.clock.advance(DAY_S)
    await media.collector.collect_due()
    assert (await media.find(file.media_id)).state is MediaState.REMOVED


async def test_scanner_without_a_verdict_is_asked_again(media: MediaEnvironment) -> None:
    file = await scan(media, b"12345", clean=None)
    assert file.state is MediaState.SCANNING
    media.clock.advance(TIMES.scan_retry_s)
    now_ms = media.clock.now_ms()
    # The collector leaves it to the scan job.
    assert await media.collector.collect_due() == 0
    assert await media.store.take_due([MediaState.SCANNING], "n", now_ms, now_ms + 1000, 10) == [file]


async def test_clean_file_is_ready(media: MediaEnvironment) -> None:
    assert (await scan(media, b"12345", clean=True)).state is MediaState.READY


async def test_file_that_makes_the_scanner_hang_delays_no_other(media: MediaEnvironment) -> None:
    class HangingScanner:
        async def is_clean(self, file: MediaFile) -> bool:
            if file.description.size_bytes == 1:
                await asyncio.Event().wait()
            return True

    owner = uuid_utils.uuid4().hex
    completion = media.new_completion(scan=True)
    hanging, clean = [
        await completion.stream(await media.begin(owner, data), chunks_of(data)) for data in (b"1", b"12345")
    ]
    job = ScanJob(media.store, HangingScanner(), media.clock, TIMES)  # type: ignore[arg-type]
    task = asyncio.create_task(job.run())

    async def is_ready() -> bool:
        return (await media.find(clean.media_id)).state is MediaState.READY

    await eventually(is_ready)
    assert (await media.find(hanging.media_id)).state is MediaState.SCANNING
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
