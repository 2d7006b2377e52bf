"""A ZIP archive is streamed in chunks and can be opened by any ZIP reader."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import AsyncIterator

from chat_service.accounts.archive import CHUNK_BYTES, ArchiveFile, stream_zip

NOW = 1_800_000_000_000


async def parts(*contents: bytes) -> AsyncIterator[bytes]:
    for content in contents:
        yield content


async def all_of(*files: ArchiveFile) -> AsyncIterator[ArchiveFile]:
    for file in files:
        yield file


async def test_archive_contains_its_files() -> None:
    files = [
        ArchiveFile("README.txt", parts(b"hello")),
        ArchiveFile("empty", parts()),
        ArchiveFile("more/ü.txt", parts(b"a", b"", b"b")),
    ]
    made = b"".join([chunk async for chunk in stream_zip(all_of(*files), NOW)])
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "README.txt": b"hello",
            "empty": b"",
            "more/ü.txt": b"ab",
        }
        assert archive.getinfo("README.txt").date_time == (2027, 1, 15, 8, 0, 0)


async def test_large_archive_is_streamed_in_bounded_memory() -> None:
    noise = random.Random(7)
    taken = 0

    async def much() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield noise.randbytes(50_000)

    chunks = stream_zip(all_of(ArchiveFile("noise", much())), NOW)
    sizes = []
    async for chunk in chunks:
        sizes.append(len(chunk))
        assert taken * 50_000 - sum(sizes) < 2 * CHUNK_BYTES + 50_000
    assert set(sizes[:-1]) == {CHUNK_BYTES}
    assert 0 < sizes[-1] <= CHUNK_BYTES
    assert sum(sizes) > 5_000_000


async def test_empty_archive_is_valid_zip() -> None:
    made = b"".join([chunk async for chunk in stream_zip(all_of(), NOW)])
    assert zipfile.ZipFile(io.BytesIO(made)).namelist() == []
