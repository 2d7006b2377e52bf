"""A local file that is uploaded: its identity, and its bytes in blocks. All reads run in threads."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from parley_client.errors import FileChanged, InvalidRequest

# The contract allows chunks of 256 KiB.
BLOCK_BYTES = 256 * 1024
_HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was when it was hashed. `path` is absolute."""

    path: Path
    size_bytes: int
    mtime_ns: int
    sha256: bytes

    @classmethod
    async def open(cls, path: Path) -> SourceFile:
        """Hash a file in one pass. Raises OSError, and InvalidRequest if it is empty or no file."""
        cancelled = threading.Event()
        try:
            return await asyncio.to_thread(_hash_file, path, cancelled)
        finally:
            cancelled.set()

    async def blocks(self, offset: int = 0, size_bytes: int | None = None) -> AsyncIterator[bytes]:
        """Yield a range of the file in blocks. Raises FileChanged if it is shorter than it was, and OSError."""
        remaining = self.size_bytes - offset if size_bytes is None else size_bytes
        file = await asyncio.to_thread(_open_at, self.path, offset)
        try:
            while remaining > 0:
                block = await asyncio.to_thread(file.read, min(BLOCK_BYTES, remaining))
                if not block:
                    raise FileChanged(str(self.path))
                remaining -= len(block)
                yield block
        finally:
            file.close()

    async def check_unchanged(self) -> None:
        """Raise FileChanged if the size or the time of the last change differs from what it was."""
        found = await asyncio.to_thread(os.stat, self.path)
        if (found.st_size, found.st_mtime_ns) != (self.size_bytes, self.mtime_ns):
            raise FileChanged(str(self.path))


def _open_at(path: Path, offset: int) -> BinaryIO:
    file = path.open("rb", buffering=0)
    file.seek(offset)
    return file


def _hash_file(path: Path, cancelled: threading.Event) -> SourceFile:
    path, digest = path.absolute(), hashlib.sha256()
    # A pipe would block, and could not be read twice.
    if not stat.S_ISREG(path.stat().st_mode):
        raise InvalidRequest(f"{path} is not a file", code="INVALID_ARGUMENT")
    with path.open("rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        while (block := file.read(_HASH_BLOCK_BYTES)) and not cancelled.is_set():
            digest.update(block)
    if found.st_size == 0:
        raise InvalidRequest(f"the file {path.name} is empty", code="INVALID_ARGUMENT")
    return SourceFile(path, found.st_size, found.st_mtime_ns, digest.digest())
