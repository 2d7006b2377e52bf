"""The scan job: it has complete files scanned, several at a time, and records the verdicts.

It runs on every server and is no part of the collector, so that a scanner that hangs delays no removal. A file that
makes the scanner hang takes one of SCANS_AT_ONCE.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
import uuid_utils

from media_service.collection.scanner import Scanner, ScannerUnavailable
from media_service.collection.times import CollectionTimes, to_ms
from media_service.model.media import MediaFile, MediaState
from media_service.model.media_store import MediaStore
from servicekit.clock import Clock
from servicekit.failure import Failure
from servicekit.tasks import cancel_requested

SCANS_AT_ONCE: Final = 8
# A file is due again after this time if its server died. It is longer than a scan.
SCAN_LEASE_S: Final = 300.0

log = structlog.get_logger("scans")


class ScanJob:
    """Scans SCANNING files until cancelled. Without a scanner it makes them READY: the deployment has removed it."""

    def __init__(self, store: MediaStore, scanner: Scanner | None, clock: Clock, times: CollectionTimes) -> None:
        self._store = store
        self._scanner = scanner
        self._clock = clock
        self._times = times

    async def run(self) -> None:
        """Scan files as they become due, until cancelled."""
        scans: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            while not cancel_requested():
                mark = uuid_utils.uuid4().hex
                for file in await self._take_due(mark, SCANS_AT_ONCE - len(scans)):
                    scan = group.create_task(self.scan(file, mark))
                    scans.add(scan)
                    scan.add_done_callback(scans.discard)
                if len(scans) < SCANS_AT_ONCE:
                    await self._clock.sleep(self._times.pause_s)
                else:
                    await asyncio.wait(scans, return_when=asyncio.FIRST_COMPLETED)

    async def _take_due(self, mark: str, limit: int) -> list[MediaFile]:
        now_ms = self._clock.now_ms()
        try:
            return await self._store.take_due([MediaState.SCANNING], mark, now_ms, now_ms + to_ms(SCAN_LEASE_S), limit)
        except Failure as failure:
            log.warning("list of files to scan failed", error=failure.message)
        except Exception:
            log.exception("list of files to scan failed")
        return []

    async def scan(self, file: MediaFile, mark: str) -> None:
        """Scan a file and record the verdict. A failure is logged, and the file is due again."""
        try:
            await self._scan(file, mark)
        except Failure as failure:
            log.warning("scan of a file failed", media_id=file.media_id, error=failure.message)
        except Exception:
            log.exception("scan of a file failed", media_id=file.media_id)

    async def _scan(self, file: MediaFile, mark: str) -> None:
        try:
            clean = await self._scanner.is_clean(file) if self._scanner is not None else True
        except ScannerUnavailable as error:
            log.warning("scan of a file failed; it is tried again", media_id=file.media_id, error=str(error))
            await self._store.postpone([file.media_id], mark, self._clock.now_ms() + to_ms(self._times.scan_retry_s))
            return
        now_ms = self._clock.now_ms()
        if clean:
            due_ms = max(now_ms, file.expire_ms) if file.expire_ms else now_ms + to_ms(self._times.unreferenced_s)
            await self._store.decide_scan(file.media_id, MediaState.READY, due_ms=due_ms, expire_ms=file.expire_ms)
            return
        # It is due at once: the collector deletes its bytes, and the record when it expires.
        expire_ms = now_ms + to_ms(self._times.rejected_s)
        if await self._store.decide_scan(file.media_id, MediaState.REJECTED, due_ms=now_ms, expire_ms=expire_ms):
            log.warning("scanner rejected a file", media_id=file.media_id, user_id=file.owner_id)
