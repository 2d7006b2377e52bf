"""The costs of files to a media server: bounded memory, and no disk at all."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Final

import pytest

from parley.media.v1 import media_pb2
from tests.footprint import MIB
from tests.large_files import CHUNK, LargeFile
from tests.scenarios.media.conftest import FreshMedia

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]

UPLOADS: Final = 20
# A device may have 16 streams.
DOWNLOADS: Final = 15
SIZE: Final = 10 * MIB
MOST: Final = 64 * MIB


async def test_concurrent_uploads_cost_bounded_memory_and_no_disk(fresh_media: FreshMedia) -> None:
    callers = [await fresh_media.caller() for _ in range(UPLOADS)]
    contents = [LargeFile(SIZE) for _ in callers]
    halfway = asyncio.Barrier(UPLOADS)

    async def frames(content: LargeFile) -> AsyncIterator[bytes]:
        description = media_pb2.FileDescription(size_bytes=SIZE, sha256=content.sha256())
        start = media_pb2.UploadRequest.Start(request_id=str(uuid.uuid4()), file=description)
        yield media_pb2.UploadRequest(start=start).SerializeToString()
        for number, chunk in enumerate(content.chunks(0, SIZE)):
            if number == SIZE // CHUNK // 2:
                # All are under way at the same time.
                await halfway.wait()
                fresh_media.check_open_files()
            yield media_pb2.UploadRequest(chunk=chunk).SerializeToString()

    async with fresh_media.bounded(MOST):
        stored = await asyncio.gather(
            *(caller.stream(frames(content)) for caller, content in zip(callers, contents, strict=True))
        )
    assert [media.state for media in stored] == [media_pb2.MEDIA_STATE_READY] * UPLOADS


async def test_concurrent_downloads_cost_bounded_memory_and_no_disk(fresh_media: FreshMedia) -> None:
    caller = await fresh_media.caller()
    data = b"".join(LargeFile(SIZE).chunks(0, SIZE))
    media = await caller.upload_parts(data)
    async with fresh_media.bounded(MOST):
        found = await asyncio.gather(*(caller.download(media.media_id) for _ in range(DOWNLOADS)))
        fresh_media.check_open_files()
    assert all(each.data == data for each in found)
