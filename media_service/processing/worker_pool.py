"""The pool of worker processes, which read the facts of pictures and sounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from media_service.processing.facts import (
    MetadataNotRemovable,
    NotDecodable,
    PictureFacts,
    TooManyPixels,
)
from media_service.processing.worker_process import (
    WORKER_MODULE,
    WorkerKilled,
    WorkerLimits,
    WorkerNotStarted,
    WorkerProcess,
    hide_from_workers,
)
from servicekit.errors import ServerBusy

ATTEMPTS: Final = 3

OpenChunks = Callable[[], AsyncIterator[bytes]]
"""Opens the bytes of a file, from its start, each time that it is called. The iterator is closed after use."""

_log = structlog.get_logger("media")
_pictures = Counter("parley_media_pictures", "Pictures and sounds that workers were asked for facts of", ["outcome"])
_seconds = Histogram(
    "parley_media_picture_seconds",
    "Seconds from the first byte that a worker was sent to its answer",
    buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
_restarts = Counter("parley_media_worker_restarts", "Workers that ended, or were killed, and are replaced", ["reason"])


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """The bounds of a pool.

    `workers` processes work at a time; up to `max_waiting` requests wait for one of them, for at most `wait_s` seconds
    each. A file of more than `max_bytes` is not decoded. A worker is replaced after `max_requests`, which returns the
    memory that its libraries keep.
    """

    workers: int = 2
    max_waiting: int = 512
    wait_s: float = 30.0
    max_bytes: int = 64 << 20
    max_requests: int = 200
    worker: WorkerLimits = field(default_factory=WorkerLimits)


class _WorkerSlot:
    """The slot of one worker in a pool; its process is started when it is needed."""

    def __init__(self, limits: WorkerLimits) -> None:
        self.worker: WorkerProcess | None = None
        self._limits = limits
        self._ending: list[WorkerProcess] = []

    async def take_worker(self) -> WorkerProcess:
        """Return a worker that can take a request. Raise WorkerNotStarted."""
        if self.worker is not None and not self.worker.usable:
            self.replace("died")
        if self.worker is None:
            self.worker = await WorkerProcess.start(self._limits)
        return self.worker

    def replace(self, reason: str) -> None:
        """Kill the worker, if there is one, and count that another one replaces it."""
        if self.worker is not None:
            _log.info("picture worker replaced", reason=reason, pid=self.worker.pid, requests=self.worker.requests)
            self._end_worker(self.worker)
            _restarts.labels(reason).inc()

    def close(self) -> None:
        """Kill the worker, if there is one."""
        if self.worker is not None:
            self._end_worker(self.worker)

    async def wait_closed(self) -> None:
        """Return once all killed workers of the slot have ended."""
        for worker in self._ending:
            await worker.wait_closed()

    def _end_worker(self, worker: WorkerProcess) -> None:
        worker.kill()
        self.worker = None
        self._ending = [*(each for each in self._ending if not each.closed), worker]


class WorkerPool:
    """Reads facts in worker processes, which are killed when `run` ends."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._slots = [_WorkerSlot(limits.worker) for _ in range(limits.workers)]
        # The slot that was used last is used first, so that workers start only for requests that come together.
        self._free: asyncio.LifoQueue[_WorkerSlot] = asyncio.LifoQueue()
        for slot in self._slots:
            self._free.put_nowait(slot)
        self._waiting = 0
        self._closed = False

    async def run(self) -> None:
        """Start a worker, so that the first request need not wait for it, and kill all workers when cancelled."""
        hide_from_workers()
        try:
            await self._start_worker()
            await asyncio.Event().wait()
        finally:
            self._closed = True
            for slot in self._slots:
                slot.close()
            for slot in self._slots:
                await slot.wait_closed()

    async def _start_worker(self) -> None:
        try:
            async with self._acquire_slot() as slot:
                await slot.take_worker()
        except WorkerNotStarted as failure:
            _log_not_started(failure, self._limits.worker)
        except ServerBusy:
            # Requests occupy all slots, and have started their workers.
            return

    async def read_facts(self, content_type: str, size_bytes: int, open_chunks: OpenChunks) -> PictureFacts:
        """Return the facts of a file of `size_bytes` whose type is one of PICTURE_TYPES or SOUND_TYPES.

        `open_chunks` is called again if a worker is killed from outside. Raise a refusal of `facts.py`; ServerBusy if
        too many requests wait, or if ATTEMPTS workers were killed; ValueError if there are more or fewer bytes; and
        what the chunks raise, unchanged.
        """
        with _count_outcome():
            if size_bytes > self._limits.max_bytes:
                raise NotDecodable(
                    f"the file has {size_bytes} bytes; the most that is decoded is {self._limits.max_bytes}"
                )
            async with self._acquire_slot() as slot:
                for _ in range(ATTEMPTS):
                    try:
                        return await self._read_once(slot, content_type, size_bytes, open_chunks)
                    except WorkerKilled as killed:
                        _log.warning(
                            "picture worker killed; give the service more memory, or run fewer workers",
                            by=str(killed),
                        )
                    except WorkerNotStarted as failure:
                        _log_not_started(failure, self._limits.worker)
                raise ServerBusy("pictures cannot be processed at present; try again later", retry_after=5.0)

    async def _read_once(
        self, slot: _WorkerSlot, content_type: str, size_bytes: int, open_chunks: OpenChunks
    ) -> PictureFacts:
        """Send the file to the worker of the slot, and leave the slot without a worker that is not usable."""
        self._check_open(slot)
        worker = await slot.take_worker()
        self._check_open(slot)
        started, reason = time.monotonic(), "cancelled"
        try:
            async with _closing(open_chunks()) as chunks:
                facts = await worker.read_facts(content_type, size_bytes, chunks)
            reason = "used up"
            return facts
        except Exception as failure:
            reason = type(failure).__name__
            raise
        finally:
            _seconds.observe(time.monotonic() - started)
            if not worker.usable or worker.requests >= self._limits.max_requests:
                slot.replace(reason)

    def _check_open(self, slot: _WorkerSlot) -> None:
        """Raise ServerBusy, and leave no worker behind, if `run` has ended."""
        if self._closed:
            slot.close()
            raise ServerBusy("the server is stopping")

    @asynccontextmanager
    async def _acquire_slot(self) -> AsyncIterator[_WorkerSlot]:
        """Wait for a free slot. Raise ServerBusy if too many requests wait for one, or after `wait_s` seconds."""
        if self._free.empty() and self._waiting >= self._limits.max_waiting:
            raise ServerBusy("too many pictures are waiting to be processed; try again later", retry_after=2.0)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._limits.wait_s):
                slot = await self._free.get()
        except TimeoutError:
            raise ServerBusy("pictures are processed too slowly; try again later", retry_after=5.0) from None
        finally:
            self._waiting -= 1
        try:
            yield slot
        finally:
            self._free.put_nowait(slot)


@asynccontextmanager
async def _closing(chunks: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Close an iterator that can be closed, also if it was not exhausted."""
    try:
        yield chunks
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


@contextmanager
def _count_outcome() -> Iterator[None]:
    outcome = "failed"
    try:
        yield
        outcome = "decoded"
    except NotDecodable:
        outcome = "not_decodable"
        raise
    except TooManyPixels:
        outcome = "too_many_pixels"
        raise
    except MetadataNotRemovable:
        outcome = "metadata_not_removable"
        raise
    except ServerBusy:
        outcome = "busy"
        raise
    finally:
        _pictures.labels(outcome).inc()


def _log_not_started(failure: WorkerNotStarted, limits: WorkerLimits) -> None:
    _log.error(
        "picture worker did not start; run the command to see the reason",
        exit=str(failure),
        command=f"python -m {WORKER_MODULE} 0 {limits.memory_bytes} {limits.max_pixels} </dev/null",
    )
