"""The completion of uploads: the sent bytes are verified, private metadata is removed, and the facts are recorded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Final

import prometheus_client
import structlog

from media_service.errors import MediaNotReady, field_invalid, media_not_found
from media_service.model.media import MediaFacts, MediaFile, MediaState, sent_key, unneeded_keys
from media_service.model.media_store import MediaStore
from media_service.model.object_store import ObjectNotFound, ObjectStore
from media_service.processing.inspection import FileInspector
from media_service.uploads.leases import LeasedFile, Leases
from media_service.uploads.uploads import check_complete, select_valid
from servicekit.clock import Clock
from servicekit.errors import Invalid
from servicekit.failure import Failure

# CompleteUpload answers within this time; Envoy ends a call after 30 s.
COMPLETE_TIMEOUT_S: Final = 20.0
NOT_READY_RETRY_S: Final = 2.0
# Files of one user that are completed at a time: each may be read from the store as a whole.
COMPLETIONS_PER_USER: Final = 8

_completed = prometheus_client.Counter("parley_media_uploads", "Uploads that ended, by their outcome.", ["outcome"])
log = structlog.get_logger("uploads")


class Completion:
    """Completes uploads under leases; with `scan`, complete files are scanned before they are READY.

    A file whose bytes are not as announced, or may not be stored, is removed, and its failure is recorded for retries.
    """

    def __init__(
        self,
        store: MediaStore,
        objects: ObjectStore,
        inspector: FileInspector,
        clock: Clock,
        *,
        scan: bool,
        unreferenced_s: float,
        lease_s: float,
    ) -> None:
        self._store = store
        self._objects = objects
        self._inspector = inspector
        self._clock = clock
        self._leases = Leases(store, clock, lease_s)
        self._scan = scan
        self._unreferenced_ms = round(unreferenced_s * 1000)
        self._tasks: dict[str, asyncio.Task[MediaFile]] = {}
        self._running = Counter[str]()

    async def run(self) -> None:
        """Wait until cancelled; then cancel the completions, which clients retry, and wait until their leases end."""
        try:
            await asyncio.Event().wait()
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stream(self, file: MediaFile, chunks: AsyncIterable[bytes]) -> MediaFile:
        """Store the bytes of a streamed upload, and complete it.

        Raise Invalid if they are not as announced, MediaNotReady if another call uploads the file, and the failures of
        `chunks`, of the inspection and of the stores.
        """
        return await self._run_leased(file.media_id, partial(self._store_and_finish, chunks))

    async def complete_parts(self, file: MediaFile) -> MediaFile:
        """Join the parts of an upload, and complete it; a complete file is returned.

        The work continues when the call is cancelled. Raise MediaNotReady if it takes longer than COMPLETE_TIMEOUT_S,
        or if too many files of the user are being completed; Invalid if a part is missing or the bytes are not as
        announced; and the failures of the inspection and of the stores.
        """
        if file.state is not MediaState.UPLOADING:
            return file
        task = self._tasks.get(file.media_id) or self._start_task(file)
        if not (await asyncio.wait([task], timeout=COMPLETE_TIMEOUT_S))[0]:
            raise MediaNotReady("the file is being verified", retry_after=NOT_READY_RETRY_S)
        if task.cancelled():
            raise MediaNotReady("the server stops; another one completes the file", retry_after=NOT_READY_RETRY_S)
        return task.result()

    def _start_task(self, file: MediaFile) -> asyncio.Task[MediaFile]:
        if self._running[file.owner_id] >= COMPLETIONS_PER_USER:
            raise MediaNotReady("other files of this user are being verified", retry_after=NOT_READY_RETRY_S)
        task = asyncio.create_task(self._run_leased(file.media_id, self._join_and_finish))
        self._tasks[file.media_id] = task
        self._running[file.owner_id] += 1
        task.add_done_callback(partial(self._end_task, file))
        return task

    def _end_task(self, file: MediaFile, task: asyncio.Task[MediaFile]) -> None:
        del self._tasks[file.media_id]
        self._running[file.owner_id] -= 1
        if not self._running[file.owner_id]:
            del self._running[file.owner_id]
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Failure):
            log.error("completion of an upload failed", media_id=file.media_id, exc_info=error)

    async def _run_leased(self, media_id: str, work: Callable[[LeasedFile], Awaitable[MediaFile]]) -> MediaFile:
        try:
            return await self._leases.run(media_id, work)
        except ObjectNotFound:
            # The file was removed meanwhile, and its objects with it.
            raise media_not_found() from None

    async def _store_and_finish(self, chunks: AsyncIterable[bytes], leased: LeasedFile) -> MediaFile:
        if leased.file.facts is not None:
            # An earlier call recorded them. Other bytes must not take the place of those that were inspected.
            return await self._finish(leased, b"")
        digest, size = sha256(), leased.file.description.size_bytes

        async def hashed() -> AsyncGenerator[bytes, None]:
            async for chunk in chunks:
                digest.update(chunk)
                yield chunk

        try:
            async with aclosing(hashed()) as stream:
                await self._objects.put(sent_key(leased.file.media_id), size, stream)
        except Invalid as refusal:
            raise await self._remove(leased, refusal) from None
        return await self._finish(leased, digest.digest())

    async def _join_and_finish(self, leased: LeasedFile) -> MediaFile:
        file = leased.file
        if file.facts is not None:
            # An earlier call recorded them, and may have removed the sent bytes.
            return await self._finish(leased, b"")
        await self._join_parts(leased)
        return await self._finish(leased, await self._read_digest(file))

    async def _join_parts(self, leased: LeasedFile) -> None:
        """Join the parts to the object of the sent bytes. Raise Invalid if one is missing or has a wrong size."""
        file = leased.file
        key, size = sent_key(file.media_id), file.description.size_bytes
        try:
            valid = select_valid(file, await self._objects.list_parts(key, file.upload_id))
            check_complete(file, {part.number for part in valid})
            await self._objects.complete_parts(key, file.upload_id, valid)
        except ObjectNotFound:
            # An earlier call joined them, or the store has lost the upload.
            if await self._objects.size_of(key) is None:
                raise field_invalid("media_id", "no part is stored; begin a new upload") from None
        await self._objects.abort_parts(key)
        stored = await self._objects.size_of(key)
        if stored != size:
            raise await self._remove(leased, field_invalid("file.size_bytes", f"{size} announced, {stored} sent"))

    async def _read_digest(self, file: MediaFile) -> bytes:
        """Return the digest of the sent bytes if the client announced one: reading a large file takes long."""
        if not file.description.sha256:
            return b""
        digest = sha256()
        async with aclosing(self._objects.read(sent_key(file.media_id))) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
        return digest.digest()

    async def _finish(self, leased: LeasedFile, digest: bytes) -> MediaFile:
        """Record the facts of a file whose bytes are in the store, and move it on. `digest` is empty if unknown."""
        file = leased.file
        if digest and file.description.sha256 not in (b"", digest):
            raise await self._remove(
                leased, field_invalid("file.sha256", "is not the digest of the bytes that were sent")
            )
        if file.facts is None:
            file = await self._record_facts(leased, digest)
        return await self._move_on(replace(leased, file=file))

    async def _record_facts(self, leased: LeasedFile, digest: bytes) -> MediaFile:
        """Record the facts of the file, and the file whose objects hold its bytes; return it with both."""
        file = await self._adopt_identical(leased, digest)
        facts = file.facts or await self._inspect(replace(leased, file=file), digest)
        self._check_lease(done=await self._store.set_facts(file.media_id, leased.holder, digest, facts))
        return replace(file, facts=facts)

    async def _inspect(self, leased: LeasedFile, digest: bytes) -> MediaFacts:
        try:
            return await self._inspector.inspect(leased.file, digest)
        except Invalid as refusal:
            raise await self._remove(leased, refusal) from None

    async def _adopt_identical(self, leased: LeasedFile, digest: bytes) -> MediaFile:
        """Return the file with the objects and facts of an identical one of the same owner, or with its own objects."""
        file = leased.file
        identical = await self._store.find_identical(file, digest) if digest else None
        if identical is not None:
            self._check_lease(done=await self._store.adopt(file.media_id, leased.holder, identical.base_id))
            # The collector keeps objects that a file uses; it may have removed them before this one was recorded.
            found = await self._store.find(identical.media_id)
            if found is not None and found.state is MediaState.READY:
                return replace(file, base_id=identical.base_id, facts=identical.facts)
        elif file.base_id == file.media_id:
            return file
        # An earlier call may have ended before it knew that the identical file was removed, and its objects with it.
        self._check_lease(done=await self._store.adopt(file.media_id, leased.holder, file.media_id))
        return replace(file, base_id=file.media_id)

    async def _move_on(self, leased: LeasedFile) -> MediaFile:
        """Move a file whose facts are recorded to READY or SCANNING. Objects of an identical file were scanned."""
        file, now_ms = leased.file, self._clock.now_ms()
        shared = file.base_id != file.media_id
        if sent_key(file.media_id) in unneeded_keys(file):
            # The sent bytes hold the metadata that was removed, or the identical file has them already.
            await self._objects.delete([sent_key(file.media_id)])
        state, due_ms = MediaState.READY, now_ms + self._unreferenced_ms
        if self._scan and not shared:
            state, due_ms = MediaState.SCANNING, now_ms
        stored_bytes = 0 if shared else file.known_facts.size_bytes
        finished = await self._store.finish(
            file.media_id, leased.holder, state, stored_bytes=stored_bytes, due_ms=due_ms
        )
        if finished is None:
            raise media_not_found()
        _completed.labels("complete").inc()
        return finished

    async def _remove(self, leased: LeasedFile, failure: Failure) -> Failure:
        """Remove a file that cannot be completed, and return the failure to raise."""
        file, now_ms = leased.file, self._clock.now_ms()
        # Without the lease the objects may be those of another call: they say nothing about the upload.
        self._check_lease(
            done=await self._store.remove(file.media_id, [MediaState.UPLOADING], now_ms, failure, leased.holder)
        )
        _completed.labels("refused").inc()
        log.info("upload refused", media_id=file.media_id, reason=failure.reason, error=failure.message)
        return failure

    def _check_lease(self, *, done: bool) -> None:
        if not done:
            raise MediaNotReady("the file is being completed by another call", retry_after=NOT_READY_RETRY_S)
