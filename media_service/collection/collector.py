"""The collector: it removes files that nothing refers to, uploads that expired, and the bytes of both.

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
from functools import partial
from typing import Final

import structlog
import uuid_utils
from prometheus_client import Counter

from media_service.collection.times import CollectionTimes, to_ms
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


class Collector:
    """Removes and rechecks due files, until cancelled."""

    def __init__(
        self,
        store: MediaStore,
        objects: ObjectStore,
        directory: Directory,
        clock: Clock,
        times: CollectionTimes,
    ) -> None:
        self._store = store
        self._objects = objects
        self._directory = directory
        self._clock = clock
        self._times = times
        self._work: dict[MediaState, Callable[[Sequence[MediaFile], str], Awaitable[None]]] = {
            MediaState.UPLOADING: self._expire_uploads,
            MediaState.READY: self._remove_unreferenced,
            MediaState.REJECTED: self._remove_rejected,
            MediaState.REMOVED: self._delete_objects,
        }

    async def run(self) -> None:
        """Work on due files until cancelled; pause while none is due."""
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
        """Work on up to BATCH due files, and return how many they were. Raise StoreUnavailable.

        A failure in one state, such as a directory that does not answer, does not keep the files of the others: its own
        are due again when the batch is.
        """
        mark, now_ms = uuid_utils.uuid4().hex, self._clock.now_ms()
        due = await self._store.take_due(list(self._work), mark, now_ms, now_ms + to_ms(self._times.timeout_s), BATCH)
        for state, work in self._work.items():
            if files := [file for file in due if file.state is state]:
                try:
                    await work(files, mark)
                except Failure as failure:
                    log.warning("collection of files failed", state=state.name, error=failure.message)
                except Exception:
                    log.exception("collection of files failed", state=state.name)
        return len(due)

    async def _remove_unreferenced(self, files: Sequence[MediaFile], mark: str) -> None:
        """Remove the READY files that nothing refers to, unless a claim takes away their mark."""
        now_ms = self._clock.now_ms()
        await _for_each([file for file in files if file.attempts > 1], self._delete_unneeded)
        await self._postpone_claimed(files, mark, now_ms)
        unclaimed = [file.media_id for file in files if file.claimed_until_ms < now_ms]
        referenced = await self._directory.filter_referenced(unclaimed) if unclaimed else set()
        await self._store.postpone(referenced, mark, now_ms + to_ms(self._times.recheck_s))
        if unreferenced := [each for each in unclaimed if each not in referenced]:
            removed = await self._store.remove_marked(unreferenced, mark, self._clock.now_ms())
            _removed.labels("unreferenced").inc(removed)

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
        """Remove uploads that have expired. One that is being completed is due again when the batch is."""
        for file in files:
            if await self._store.expire(file.media_id, self._clock.now_ms()):
                _removed.labels("expired").inc()

    async def _remove_rejected(self, files: Sequence[MediaFile], mark: str) -> None:
        """Delete the bytes of rejected files, and remove those that have expired."""

        async def remove(file: MediaFile) -> None:
            now_ms = self._clock.now_ms()
            if now_ms < file.expire_ms:
                await self._objects.delete(object_keys(file.media_id))
                await self._store.postpone([file.media_id], mark, file.expire_ms)
            elif await self._store.remove(file.media_id, [MediaState.REJECTED], now_ms):
                _removed.labels("rejected").inc()

        await _for_each(files, remove)

    async def _delete_objects(self, files: Sequence[MediaFile], mark: str) -> None:
        await _for_each(files, partial(self._delete_objects_of, mark))

    async def _delete_objects_of(self, mark: str, file: MediaFile) -> None:
        """Delete the objects of a REMOVED file that no other file uses, and the record once it is old enough."""
        now_ms = self._clock.now_ms()
        for base_id in {file.media_id, file.base_id}:
            users = await self._store.list_users_of(base_id, file.media_id)
            if any(user.state is MediaState.UPLOADING and user.media_id != base_id for user in users):
                # It is adopting the objects; whether it will use them is not known yet.
                await self._store.postpone([file.media_id], mark, now_ms + to_ms(self._times.adoption_s))
                return
            if users:
                # The removed file may have been the one whose bytes counted for the quota.
                await self._store.count_shared(base_id)
            else:
                await self._objects.delete(object_keys(base_id))
        if file.in_parts:
            await self._objects.abort_parts(sent_key(file.media_id))
        removed_at_ms = file.remove_ms
        if now_ms - removed_at_ms >= to_ms(self._times.tombstone_s):
            await self._store.delete(file.media_id)
        else:
            await self._store.postpone([file.media_id], mark, removed_at_ms + to_ms(self._times.tombstone_s))


async def _for_each(files: Sequence[MediaFile], work: Callable[[MediaFile], Awaitable[None]]) -> None:
    """Do the work on each file. A file whose work failed is due again when the batch is."""

    async def isolated(file: MediaFile) -> None:
        try:
            await work(file)
        except Failure as failure:
            log.warning("deletion of a file failed", media_id=file.media_id, error=failure.message)

    await gather_limited(isolated, files, limit=FILES_AT_ONCE)
