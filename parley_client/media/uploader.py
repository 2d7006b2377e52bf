"""Uploads: a small file as a stream of chunks, a larger one in parts that go straight to the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from parley.media.v1 import media_pb2
from parley_client.calls import AuthenticatedCalls
from parley_client.clock import ServerClock
from parley_client.errors import (
    FileChanged,
    InvalidRequest,
    MediaNotReady,
    MediaRejected,
    NotFound,
    ParleyError,
    TimedOut,
)
from parley_client.media.object_store import ObjectStore, StoreBusy, UrlExpired, headers_of
from parley_client.media.part_list import PAGE_SIZE, PartList
from parley_client.media.persistence import PROCESSING_PATIENCE_S, Persistence
from parley_client.media.progress import Progress
from parley_client.media.source_file import SourceFile
from parley_client.media.upload_records import UploadRecord, UploadRecords
from parley_client.media.worker_pool import for_each_part

# The server verifies a large file during the call, and asks to call again if that takes longer.
COMPLETE_TIMEOUT_S = 60.0


class Uploader:
    """Uploads of the signed-in user. An unfinished upload in parts is kept in `records` and continued."""

    def __init__(
        self, calls: AuthenticatedCalls, clock: ServerClock, store: ObjectStore, records: UploadRecords
    ) -> None:
        self._calls = calls
        self._clock = clock
        self._store = store
        self._records = records

    async def upload_by_stream(
        self, file: SourceFile, announced: media_pb2.FileDescription, progress: Progress
    ) -> media_pb2.Media:
        """Upload a small file by one call. Raises ParleyError and OSError."""
        start = media_pb2.UploadRequest.Start(request_id=self._clock.new_id(), file=announced)

        async def frames() -> AsyncIterator[media_pb2.UploadRequest]:
            sent_bytes = 0
            progress.begin({})
            yield media_pb2.UploadRequest(start=start)
            async for block in file.blocks():
                yield media_pb2.UploadRequest(chunk=block)
                sent_bytes += len(block)
                progress.set_part(1, sent_bytes)

        try:
            response = await self._calls.call_with_frames(lambda channel: channel.media.Upload, frames)
        except InvalidRequest:
            await file.check_unchanged()
            raise
        return await self.wait_until_ready(response.media)

    async def upload_in_parts(
        self, file: SourceFile, announced: media_pb2.FileDescription, progress: Progress, key: str
    ) -> media_pb2.Media:
        """Upload a file in parts, or only those that the store lacks if it was begun before under `key`.

        Raises ParleyError and OSError; then and after a cancellation, the next call continues.
        """
        parts = await self._continue_or_begin(announced, key)
        persistence = Persistence()
        missing = [number for number in parts.numbers if not parts.get(number).stored]
        stored = set(parts.numbers).difference(missing)
        progress.begin({number: parts.get(number).size_bytes for number in stored})
        await for_each_part(missing, lambda number: self._send_part(file, parts, number, progress, persistence))
        try:
            await file.check_unchanged()
            completed = await self._complete(parts.media_id)
        except (FileChanged, InvalidRequest):
            # What the store has is not what was announced: continuing would fail again.
            await self._abort(parts.media_id, key)
            raise
        await asyncio.to_thread(self._records.remove, key)
        return await self.wait_until_ready(completed)

    async def wait_until_ready(self, media: media_pb2.Media) -> media_pb2.Media:
        """Return the file once the scanner of the deployment has decided. Raises ParleyError: MediaRejected."""
        persistence = Persistence(PROCESSING_PATIENCE_S)
        while media.state == media_pb2.MEDIA_STATE_SCANNING:
            waiting = MediaNotReady("the file is being scanned", code="UNAVAILABLE", reason="MEDIA_NOT_READY")
            await persistence.wait(waiting)
            request = media_pb2.GetMediaRequest(media_id=media.media_id)
            media = (await self._calls.call(lambda channel: channel.media.GetMedia, request)).media
        if media.state == media_pb2.MEDIA_STATE_REJECTED:
            raise MediaRejected(
                "harmful contents were found in the file", code="FAILED_PRECONDITION", reason="MEDIA_REJECTED"
            )
        return media

    async def _continue_or_begin(self, announced: media_pb2.FileDescription, key: str) -> PartList:
        record = await asyncio.to_thread(self._records.find, key)
        if record is not None and record.media_id:
            parts = PartList(self._calls, self._clock, record.media_id)
            try:
                await parts.load()
            except NotFound:
                record = None  # the server has aborted it
            else:
                return parts
        record = record or UploadRecord(key, self._clock.new_id(), "", time.time())
        await asyncio.to_thread(self._records.save, record)
        request = media_pb2.CreateUploadRequest(request_id=record.request_id, file=announced, page_size=PAGE_SIZE)
        created = await self._calls.call(lambda channel: channel.media.CreateUpload, request)
        media_id = created.upload.media_id
        await asyncio.to_thread(self._records.save, UploadRecord(key, record.request_id, media_id, record.begin_time))
        parts = PartList(self._calls, self._clock, media_id)
        parts.add_page(created)
        if created.next_page_token:
            await parts.load(created.next_page_token)
        return parts

    async def _send_part(
        self, file: SourceFile, parts: PartList, number: int, progress: Progress, persistence: Persistence
    ) -> None:
        while True:
            part = parts.get(number)
            if not part.stored and parts.is_expiring(part):
                await parts.renew(part)
                part = parts.get(number)
            if part.stored:
                break
            try:
                headers = headers_of((each.name, each.value) for each in part.headers)
                await self._store.put(part.url, headers, _counted(file, part, progress), part.size_bytes)
                break
            except UrlExpired as error:
                await persistence.wait(error)
                await parts.renew(part)
            except StoreBusy as error:
                await persistence.wait(error)
        progress.set_part(number, part.size_bytes)
        persistence.note_progress()

    async def _abort(self, media_id: str, key: str) -> None:
        await asyncio.to_thread(self._records.remove, key)
        request = media_pb2.AbortUploadRequest(media_id=media_id)
        with suppress(ParleyError):  # the server aborts it a day later
            await self._calls.call(lambda channel: channel.media.AbortUpload, request)

    async def _complete(self, media_id: str) -> media_pb2.Media:
        persistence = Persistence(PROCESSING_PATIENCE_S)
        request = media_pb2.CompleteUploadRequest(media_id=media_id)
        while True:
            try:
                completed = await self._calls.call(
                    lambda channel: channel.media.CompleteUpload, request, COMPLETE_TIMEOUT_S
                )
            except (MediaNotReady, TimedOut) as error:
                await persistence.wait(error, error.retry_after)
            else:
                return completed.media


async def _counted(file: SourceFile, part: media_pb2.Part, progress: Progress) -> AsyncIterator[bytes]:
    """Yield the bytes of a part, and report them."""
    sent_bytes = 0
    async for block in file.blocks(part.offset_bytes, part.size_bytes):
        yield block
        sent_bytes += len(block)
        progress.set_part(part.part_number, sent_bytes)
