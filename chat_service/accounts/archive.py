"""ZIP archives that are built while they are streamed, one file after the other, in bounded memory."""

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
    """A file of an archive: its path and the parts of its content. One whole part is in memory at a time."""

    path: str
    parts: AsyncIterator[bytes]


class _ChunkBuffer(io.RawIOBase):
    """A buffer of bytes to stream. It is not seekable, so that zipfile writes an archive front to back."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        chunk = bytes(data)  # type: ignore[call-overload]
        self._buffer += chunk
        return len(chunk)

    def chunks(self, *, last: bool = False) -> Iterator[bytes]:
        """Remove and yield whole chunks of CHUNK_BYTES; with `last`, also the remaining bytes."""
        while len(self._buffer) >= CHUNK_BYTES or (last and self._buffer):
            yield bytes(self._buffer[:CHUNK_BYTES])
            del self._buffer[:CHUNK_BYTES]


async def stream_zip(files: AsyncIterator[ArchiveFile], now_ms: int) -> AsyncIterator[bytes]:
    """Yield the archive in chunks of CHUNK_BYTES; the last may be shorter. Compress off the event loop."""
    buffer, modified = _ChunkBuffer(), datetime.fromtimestamp(now_ms / 1000, UTC).timetuple()[:6]
    archive = zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED)
    async for file in files:
        member = zipfile.ZipInfo(file.path, modified)
        member.compress_type = zipfile.ZIP_DEFLATED
        # The size is not known before the file is written, and the header comes first.
        with archive.open(member, "w", force_zip64=True) as opened:
            async for part in file.parts:
                await asyncio.to_thread(opened.write, part)
                for chunk in buffer.chunks():
                    yield chunk
    archive.close()
    for chunk in buffer.chunks(last=True):
        yield chunk
