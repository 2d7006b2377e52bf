"""A large file goes up and down through presigned addresses, and is resumed after each interruption."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from typing import Final

import grpc
import pytest

from parley.media.v1 import media_pb2
from tests.eventually import eventually
from tests.footprint import MIB
from tests.large_files import CHUNK, LargeFile
from tests.raw.media import RawMedia
from tests.raw.refusal import of_error
from tests.scenarios.media.conftest import FreshMedia

SIZE: Final = 1024 * MIB
MOST: Final = 32 * MIB
AT_ONCE: Final = 4
# Transfers are interrupted after each of these shares of the file.
INTERRUPTIONS: Final = (0.3, 0.7)
COMPLETION_S: Final = 200.0

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]


async def test_interrupted_large_file_is_resumed_and_unchanged(fresh_media: FreshMedia) -> None:
    content = LargeFile(SIZE)
    digest = content.sha256()
    caller = await fresh_media.caller()
    async with fresh_media.bounded(MOST):
        media_id = await begin(caller, digest)
        for share in (*INTERRUPTIONS, None):
            # Each time the client knows nothing but the id.
            again = await fresh_media.caller(caller.device)
            await PartUploader(again, media_id, content, share).run()
        media = await complete(caller, media_id)
        assert (media.state, media.sha256) == (media_pb2.MEDIA_STATE_READY, digest)
        assert await download(caller, media_id) == digest


async def begin(caller: RawMedia, digest: bytes) -> str:
    """Begin an upload, and return its id."""
    description = media_pb2.FileDescription(size_bytes=SIZE, sha256=digest)
    created = await caller.device.call(
        media_pb2.CreateUploadRequest(request_id=str(uuid.uuid4()), file=description, page_size=1)
    )
    return str(created.upload.media_id)


class PartUploader:
    """Sends the parts that are missing, some at a time; with `share`, it is cut in the middle of the next ones.

    `share` is the share of the file that is stored when it is cut.
    """

    def __init__(self, caller: RawMedia, media_id: str, content: LargeFile, share: float | None) -> None:
        self._caller = caller
        self._media_id = media_id
        self._content = content
        self._stored_bytes = 0
        self._cut_at = None if share is None else share * content.size
        self._cut = asyncio.Event()

    async def run(self) -> None:
        """Send the parts until all are stored, or until the transfer is cut."""
        parts = [part async for part in self._list_parts()]
        self._stored_bytes = sum(part.size_bytes for part in parts if part.stored)
        missing = iter([part for part in parts if not part.stored])
        sending = asyncio.gather(*(self._send_each(missing) for _ in range(AT_ONCE)))
        if self._cut_at is not None:
            await self._cut.wait()
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
            return
        await sending

    async def _list_parts(self) -> AsyncIterator[media_pb2.Part]:
        request = media_pb2.ListUploadPartsRequest(media_id=self._media_id)
        while True:
            page = await self._caller.device.call(request)
            for part in page.parts:
                yield part
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def _send_each(self, parts: Iterator[media_pb2.Part]) -> None:
        for part in parts:
            headers = {"content-length": str(part.size_bytes), **{each.name: each.value for each in part.headers}}
            response = await self._caller.http.put(part.url, content=self._read_part(part), headers=headers)
            response.raise_for_status()
            self._stored_bytes += part.size_bytes

    async def _read_part(self, part: media_pb2.Part) -> AsyncIterator[bytes]:
        chunks = self._content.chunks(part.offset_bytes, part.size_bytes)
        for chunk in islice(chunks, part.size_bytes // CHUNK // 2):
            yield chunk
        if self._cut_at is not None and self._stored_bytes >= self._cut_at:
            self._cut.set()
            await asyncio.Event().wait()
        for chunk in chunks:
            yield chunk


async def complete(caller: RawMedia, media_id: str) -> media_pb2.Media:
    """Complete an upload; while the server verifies a large file, it is called again."""
    completed: list[media_pb2.Media] = []

    async def is_complete() -> bool:
        try:
            completed.append(await caller.complete(media_id))
        except grpc.aio.AioRpcError as error:
            refusal = of_error(error)
            if refusal.reason != "MEDIA_NOT_READY" or not refusal.retry_after:
                raise
        return bool(completed)

    await eventually(is_complete, timeout=COMPLETION_S)
    return completed[0]


async def download(caller: RawMedia, media_id: str) -> bytes:
    """Download a file by ranges, each from a new address, and return its digest."""
    digest, received = sha256(), 0
    for share in (*INTERRUPTIONS, 1.0):
        headers = {"range": f"bytes={received}-"}
        async with caller.http.stream("GET", await caller.address(media_id), headers=headers) as response:
            assert response.status_code == 206
            async for chunk in response.aiter_raw():
                digest.update(chunk)
                received += len(chunk)
                if received >= share * SIZE:
                    # Leaving the response closes its connection.
                    break
    assert received == SIZE
    return digest.digest()
