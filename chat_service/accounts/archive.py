"""An archive that is made while it is read: a ZIP of files one after the other, of which little is held at a time."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A file of an archive: its path, and its content in parts, each of which is held in memory as a whole."""

    path: str
    parts: AsyncIterator[bytes]


class _ChunkBuffer(io.RawIOBase):
    """What was written and not yet taken away; it cannot be sought in, so a ZIP is written front to back."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        taken = bytes(data)  # type: ignore[call-overload]
        self._held += taken
        return len(taken)

    def chunks(self, *, last: bool = False) -> Iterator[bytes]:
        """What can be taken away, CHUNK_BYTES at a time; the rest too, if it is the `last`."""
        while len(self._held) >= CHUNK_BYTES or (last and self._held):
            yield bytes(self._held[:CHUNK_BYTES])
            del self._held[:CHUNK_BYTES]


async def stream_zip(files: AsyncIterator[ArchiveFile], now_ms: int) -> AsyncIterator[bytes]:
    """The archive, in chunks of CHUNK_BYTES, the last of at most that; compressed off the loop."""
    outbox, time = _ChunkBuffer(), datetime.fromtimestamp(now_ms / 1000, UTC).timetuple()[:6]
    archive = zipfile.ZipFile(outbox, "w", zipfile.ZIP_DEFLATED)
    async for file in files:
        member = zipfile.ZipInfo(file.path, time)
        member.compress_type = zipfile.ZIP_DEFLATED
        # Its size is not known before it is written.
        with archive.open(member, "w", force_zip64=True) as opened:
            async for part in file.parts:
                await asyncio.to_thread(opened.write, part)
                for chunk in outbox.chunks():
                    yield chunk
    archive.close()
    for chunk in outbox.chunks(last=True):
        yield chunk
