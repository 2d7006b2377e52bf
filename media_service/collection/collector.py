"""The collector: it removes files that nothing refers to, ends uploads that expired, and has files scanned.

It runs on every server. Each file has a time at which it is due, and of two servers only one gets a due file. A file
that may be removed is marked, then the directory is asked for references, then it is removed if it still has the mark:
a claim in between takes the mark away. A file that was claimed before has its reference by then, because claims last
longer than any send.

A removed file is invisible. Its objects are deleted at once, and once more when its record is deleted later: a server
that was frozen while it completed the file may have written them in between. For the same reason the first look at a
complete file deletes the objects that it does not use, if more than one call had a lease to complete it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
import uuid_utils
from prometheus_client import Counter

from media_service.collection.scanner import Scanner, ScannerUnavailable
from media_service.model.directory import Directory
from media_service.model.media import MediaFile, MediaState, object_keys, sent_key, unneeded_keys
from media_service.model.media_store import MediaStore
from media_service.model.object_store import ObjectStore
from servicekit.clock import Clock
from servicekit.failure import Failure
from servicekit.tasks import cancel_requested, gather_limited

BATCH: Final = 200
FILES_AT_ONCE: Final = 8

_removed = Counter("parley_media_files_removed", "Files that were removed, by the reason.", ["reason"])
log = structlog.get_logger("collector")


@dataclass(frozen=True, slots=True)
class CollectionTimes:
    """Times in seconds.

    `recheck_s` is the time between two checks of a referenced file, `pause_s` that between two looks for due files
    while none is due, and `scan_retry_s` that between two attempts to scan a file. A rejected file is removed after
    `rejected_s`, one to which nothing refers after `unreferenced_s`. A batch is due again after `timeout_s` if its
    server died. The record of a removed file stays for `tombstone_s`: retries get its failure, and late objects are
    deleted. A file whose objects another one may be about to use is looked at again after `adoption_s`.
    """

    recheck_s: float
    pause_s: float
    timeout_s: float
    tombstone_s: float
    adoption_s: float
    rejected_s: float
    unreferenced_s: float
    scan_retry_s: float


class Collector:
    """Looks at due files until cancelled. `scanner` is None if the deployment has none."""

    def __init__(
        self,
        store: MediaStore,
        objects: ObjectStore,
        directory: Directory,
        scanner: Scanner | None,
        clock: Clock,
        times: CollectionTimes,
    ) -> None:
        self._store = store
        self._objects = objects
        self._directory = directory
        self._scanner = scanner
        self._clock = clock
        self._times = times
        self._work: dict[MediaState, Callable[[Sequence[MediaFile], str], Awaitable[None]]] = {
            MediaState.UPLOADING: self._expire_uploads,
            MediaState.SCANNING: self._scan,
            MediaState.READY: self._remove_unreferenced,
            MediaState.REJECTED: self._remove_rejected,
            MediaState.REMOVED: self._delete_objects,
        }

    async def run(self) -> None:
        """Look at due files until cancelled; pause while none is due."""
        while not cancel_requested():
            collected = 0
            try:
                collected = await self.collect_due()
            except Failure as failure:
                log.warning("collection of files failed", error=failure.message)
            except Exception:
                log.exception("collection of files failed")
            if not collected:
                await self._clock.sleep(self._times.pause_s)

    async def collect_due(self) -> int:
        """Look at up to BATCH due files, and return how many they were. Raise StoreUnavailable, ServiceUnavailable."""
        mark, now_ms = uuid_utils.uuid4().hex, self._clock.now_ms()
        due = await self._store.take_due(mark, now_ms, now_ms + _ms(self._times.timeout_s), BATCH)
        for state, work in self._work.items():
            if files := [file for file in due if file.state is state]:
                await work(files, mark)
        return len(due)

    async def _remove_unreferenced(self, files: Sequence[MediaFile], mark: str) -> None:
        """Remove the READY files that nothing refers to, unless a claim takes away their mark."""
        now_ms = self._clock.now_ms()
        await gather_limited(self._delete_unneeded, [f for f in files if f.attempts > 1], limit=FILES_AT_ONCE)
        await self._postpone_claimed(files, mark, now_ms)
        unclaimed = [file.media_id for file in files if file.claimed_until_ms < now_ms]
        referenced = await self._directory.filter_referenced(unclaimed) if unclaimed else set()
        await self._store.postpone(referenced, mark, now_ms + _ms(self._times.recheck_s))
        if unreferenced := [each for each in unclaimed if each not in referenced]:
            await self._store.remove_marked(unreferenced, mark, self._clock.now_ms())
            _removed.labels("unreferenced").inc(len(unreferenced))

    async def _delete_unneeded(self, file: MediaFile) -> None:
        """Delete the objects that calls have left which did not complete the file."""
        await self._objects.delete(unneeded_keys(file))
        await self._store.reset_attempts(file.media_id)

    async def _postpone_claimed(self, files: Sequence[MediaFile], mark: str, now_ms: int) -> None:
        claimed = [file for file in files if file.claimed_until_ms >= now_ms]
        if claimed:
            latest = max(file.claimed_until_ms for file in claimed)
            await self._store.postpone([file.media_id for file in claimed], mark, latest)

    async def _expire_uploads(self, files: Sequence[MediaFile], _: str) -> None:
        for file in files:
            if await self._store.remove(file.media_id, [MediaState.UPLOADING], self._clock.now_ms()):
                _removed.labels("expired").inc()

    async def _remove_rejected(self, files: Sequence[MediaFile], _: str) -> None:
        for file in files:
            if await self._store.remove(file.media_id, [MediaState.REJECTED], self._clock.now_ms()):
                _removed.labels("rejected").inc()

    async def _scan(self, files: Sequence[MediaFile], mark: str) -> None:
        """Ask the scanner about files. A deployment that has removed its scanner makes them READY."""

        async def scan(file: MediaFile) -> None:
            try:
                clean = await self._scanner.is_clean(file) if self._scanner is not None else True
            except ScannerUnavailable as error:
                log.warning("scan of a file failed; it is tried again", media_id=file.media_id, error=str(error))
                await self._store.postpone([file.media_id], mark, self._clock.now_ms() + _ms(self._times.scan_retry_s))
                return
            await self._record_verdict(file, clean=clean)

        await gather_limited(scan, files, limit=FILES_AT_ONCE)

    async def _record_verdict(self, file: MediaFile, *, clean: bool) -> None:
        now_ms = self._clock.now_ms()
        if clean:
            due_ms = max(now_ms, file.expire_ms) if file.expire_ms else now_ms + _ms(self._times.unreferenced_s)
            await self._store.decide_scan(file.media_id, MediaState.READY, due_ms)
        elif await self._store.decide_scan(file.media_id, MediaState.REJECTED, now_ms + _ms(self._times.rejected_s)):
            log.warning("scanner rejected a file", media_id=file.media_id, user_id=file.owner_id)
            await self._objects.delete(object_keys(file.media_id))

    async def _delete_objects(self, files: Sequence[MediaFile], mark: str) -> None:
        async def delete(file: MediaFile) -> None:
            try:
                await self._delete_objects_of(file, mark)
            except Failure as failure:
                # The file is due again when the batch is.
                log.warning("deletion of a file failed", media_id=file.media_id, error=failure.message)

        await gather_limited(delete, files, limit=FILES_AT_ONCE)

    async def _delete_objects_of(self, file: MediaFile, mark: str) -> None:
        """Delete the objects of a REMOVED file that no other file uses, and the record once it is old enough."""
        now_ms = self._clock.now_ms()
        for base_id in {file.media_id, file.base_id}:
            users = await self._store.list_users_of(base_id, file.media_id)
            if any(user.state is MediaState.UPLOADING and user.media_id != base_id for user in users):
                # It is adopting the objects; whether it will use them is not known yet.
                await self._store.postpone([file.media_id], mark, now_ms + _ms(self._times.adoption_s))
                return
            if not users:
                await self._objects.delete(object_keys(base_id))
        if file.in_parts:
            await self._objects.abort_parts(sent_key(file.media_id))
        removed_at_ms = file.remove_ms
        if now_ms - removed_at_ms >= _ms(self._times.tombstone_s):
            await self._store.delete(file.media_id)
        else:
            await self._store.postpone([file.media_id], mark, removed_at_ms + _ms(self._times.tombstone_s))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
