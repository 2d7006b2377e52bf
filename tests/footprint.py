"""The memory and the disk of a process: how its memory grows meanwhile, and the files that it writes to."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from bench.usage import child_pids, resident_bytes

MIB: Final = 1024 * 1024
SAMPLE_S: Final = 0.02


@asynccontextmanager
async def memory_growth_below(pid: int, most: int) -> AsyncIterator[None]:
    """Check that the resident memory of a process grows by less than `most` bytes; log its growth, and its children."""
    before, highest = resident_bytes(pid), 0

    async def sample() -> None:
        nonlocal highest
        while True:
            highest = max(highest, resident_bytes(pid))
            await asyncio.sleep(SAMPLE_S)

    sampling = asyncio.create_task(sample())
    try:
        yield
    finally:
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling
    children = [f"{resident_bytes(child) / MIB:.0f}" for child in child_pids(pid)]
    growth = f"{before / MIB:.1f} MiB grew by {(highest - before) / MIB:.1f} MiB; children: {children} MiB"
    structlog.get_logger("memory").info(growth)
    assert highest - before < most, growth


def written_bytes(pid: int) -> int:
    """Return the bytes that a process has written to disks so far, also those that are still in the page cache."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))


def files_open_for_writing(pid: int) -> set[Path]:
    """Return the regular files that a process may write to, also those that are removed from their folder."""
    files = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        # A descriptor may be closed meanwhile.
        with suppress(FileNotFoundError):
            flags = int(Path(f"/proc/{pid}/fdinfo", descriptor.name).read_text().split("flags:")[1].split()[0], 8)
            if stat.S_ISREG(descriptor.stat().st_mode) and flags & os.O_ACCMODE != os.O_RDONLY:
                files.add(descriptor.readlink())
    return files
