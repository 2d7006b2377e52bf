"""Downloads to files: in ranges, several at a time, continued after an interruption and verified at the end."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from pathlib import Path

from parley_client.errors import NotPossibleNow, TimedOut, TryLater
from parley_client.media.byte_sources import ByteSource
from parley_client.media.object_store import StoreBusy
from parley_client.media.partial_file import ExpectedFile, PartialFile, open_partial
from parley_client.media.persistence import Persistence
from parley_client.media.progress import Progress
from parley_client.media.worker_pool import for_each_part


async def download_to_file(
    source: ByteSource, expected: ExpectedFile, path: Path, progress: Progress, *, overwrite: bool
) -> Path:
    """Download a file; return its path, which is another than `path` if that exists and is not overwritten.

    Raises ParleyError and OSError; then and after a cancellation, a call with the same arguments continues.
    """
    partial = await asyncio.to_thread(open_partial, path, expected, overwrite=overwrite)
    if partial is None:
        raise NotPossibleNow(f"{path} is being downloaded by another program", code="FAILED_PRECONDITION")
    try:
        await _download_ranges(source, partial, progress)
        await _verify(partial)
        return await asyncio.to_thread(partial.publish, overwrite=overwrite)
    finally:
        partial.close()


async def _verify(partial: PartialFile) -> None:
    """Verify the digest in a thread, which a cancellation ends soon."""
    cancelled = threading.Event()
    try:
        await asyncio.to_thread(partial.verify, cancelled)
    finally:
        cancelled.set()


async def _download_ranges(source: ByteSource, partial: PartialFile, progress: Progress) -> None:
    finished, expected, persistence = partial.finished_ranges, partial.expected, Persistence()
    progress.begin({index: expected.range_at(index)[1] for index in finished})
    missing = [index for index in range(expected.range_count) if index not in finished]
    await for_each_part(missing, lambda index: _download_range(source, partial, index, progress, persistence))


async def _download_range(
    source: ByteSource, partial: PartialFile, index: int, progress: Progress, persistence: Persistence
) -> None:
    """Download one range. After a failure, only its missing bytes are requested again."""
    offset, length = partial.expected.range_at(index)
    received = 0
    while received < length:
        try:
            async with aclosing(source.read(offset + received, length - received)) as blocks:
                async for block in blocks:
                    await asyncio.to_thread(partial.write, offset + received, block[: length - received])
                    received = min(received + len(block), length)
                    progress.set_part(index, received)
                    persistence.note_progress()
            if received < length:
                raise StoreBusy("the file ended early")
        except StoreBusy as error:
            await persistence.wait(error)
        except (TryLater, TimedOut) as error:
            await persistence.wait(error, error.retry_after)
    await asyncio.to_thread(partial.finish_range, index)
