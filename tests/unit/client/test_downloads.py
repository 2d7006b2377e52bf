"""Downloads: in ranges, continued after an interruption, verified, and never over another file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parley_client import FileDamaged, InvalidRequest, MediaVariant, NotFound, NotPossibleNow
from parley_client.media.partial_file import RANGE_BYTES, ExpectedFile, open_partial
from servicekit.failure import Failure
from tests.unit.client.media_server import MediaServer, media_server
from tests.unit.client.test_uploads import Reports

CONTENT = os.urandom(5 * RANGE_BYTES + 17)


@pytest.fixture
async def server() -> AsyncIterator[MediaServer]:
    async with media_server() as server:
        yield server


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_small_file_is_downloaded_by_calls(server: MediaServer, tmp_path: Path) -> None:
    content, reports = os.urandom(RANGE_BYTES + 1), Reports()
    media_id = server.servicer.add(content, "photo.jpg")
    async with server.client() as client:
        path = await client.files.download(media_id, tmp_path, on_progress=reports)
        assert await client.files.read(media_id) == content
    assert path == tmp_path / "photo.jpg"
    assert path.read_bytes() == content
    assert reports.complete
    assert server.store.get_ranges == []
    assert names(tmp_path) == ["photo.jpg"]


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
async def test_read_that_a_leaving_server_ends_is_repeated(server: MediaServer, code: str) -> None:
    content = os.urandom(200_000)
    media_id = server.servicer.add(content, "photo.jpg")
    server.servicer.failures.append(Failure("the server is shutting down", code=code, reason=""))
    async with server.client() as client:
        assert await client.files.read(media_id) == content
    assert server.servicer.calls == ["Download", "Download"]


async def test_large_file_is_downloaded_from_its_url(server: MediaServer, tmp_path: Path) -> None:
    media_id, reports = server.servicer.add(CONTENT, "film.mp4"), Reports()
    async with server.client() as client:
        path = await client.files.download(media_id, tmp_path / "mine.mp4", on_progress=reports)
    assert path.read_bytes() == CONTENT
    assert reports.complete
    assert len(server.store.get_ranges) == 6
    assert names(tmp_path) == ["mine.mp4"]


async def test_cancelled_download_fetches_only_missing_ranges_next_time(server: MediaServer, tmp_path: Path) -> None:
    media_id = server.servicer.add(CONTENT, "film.mp4")

    server.store.requests_until_pause = 4
    async with server.client() as client:
        downloading = asyncio.create_task(client.files.download(media_id, tmp_path))
        await server.store.paused.wait()
        downloading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await downloading
    assert names(tmp_path) == ["film.mp4.part", "film.mp4.part.json"]
    server.store.requests_until_pause = None
    server.store.get_ranges.clear()
    reports = Reports()
    async with server.client() as client:
        path = await client.files.download(media_id, tmp_path, on_progress=reports)
    assert path.read_bytes() == CONTENT
    assert reports.reported[0][0] > 0
    assert reports.complete
    assert 0 < len(server.store.get_ranges) < 6
    assert names(tmp_path) == ["film.mp4"]


async def test_range_that_is_cut_is_continued_at_its_last_byte(server: MediaServer, tmp_path: Path) -> None:
    media_id = server.servicer.add(CONTENT, "film.mp4")
    server.store.cut_after_bytes = 1 << 20
    async with server.client() as client:
        path = await client.files.download(media_id, tmp_path)
    assert path.read_bytes() == CONTENT
    [repeated] = [each for each in server.store.get_ranges if each[0] % RANGE_BYTES]
    assert sum(length for _, length in server.store.get_ranges) < len(CONTENT) + RANGE_BYTES
    assert repeated[1] < RANGE_BYTES


async def test_failures_and_expired_urls_are_repeated(server: MediaServer, tmp_path: Path) -> None:
    media_id = server.servicer.add(CONTENT, "film.mp4")
    server.store.statuses.extend([503, 500, 200, 503])

    def expire(done: int, _: int) -> None:
        if done > RANGE_BYTES:
            server.store.signature = "second"

    async with server.client() as client:
        path = await client.files.download(media_id, tmp_path, on_progress=expire)
    assert path.read_bytes() == CONTENT


async def test_damaged_file_does_not_appear(server: MediaServer, tmp_path: Path) -> None:
    media_id = server.servicer.add(CONTENT, "film.mp4")
    server.servicer.sha256 = bytes(32)
    async with server.client() as client:
        with pytest.raises(FileDamaged):
            await client.files.download(media_id, tmp_path)
    assert names(tmp_path) == []


async def test_existing_file_is_kept_unless_overwritten(server: MediaServer, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    media_id = server.servicer.add(b"new", "photo.jpg")
    async with server.client() as client:
        assert await client.files.download(media_id, tmp_path) == tmp_path / "photo (1).jpg"
        assert await client.files.download(media_id, tmp_path / "photo.jpg") == tmp_path / "photo (2).jpg"
        assert (tmp_path / "photo.jpg").read_bytes() == b"mine"
        assert await client.files.download(media_id, tmp_path, overwrite=True) == tmp_path / "photo.jpg"
    assert (tmp_path / "photo.jpg").read_bytes() == b"new"
    assert names(tmp_path) == ["photo (1).jpg", "photo (2).jpg", "photo.jpg"]


async def test_name_cannot_leave_the_folder(server: MediaServer, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    media_id = server.servicer.add(b"x", "../../etc/passwd\x1b[31m")
    async with server.client() as client:
        path = await client.files.download(media_id, folder)
    assert path.parent == folder
    assert names(tmp_path) == ["inner"]
    assert path.name == "_.._etc_passwd[31m"


async def test_name_of_the_longest_length_is_saved(server: MediaServer, tmp_path: Path) -> None:
    media_id = server.servicer.add(b"x", "n" * 251 + ".txt")
    async with server.client() as client:
        path = await client.files.download(media_id, tmp_path)
        assert (await client.files.download(media_id, tmp_path)).stem.endswith(" (1)")
    assert path.suffix == ".txt"
    assert path.read_bytes() == b"x"
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize("overwrite", [False, True])
async def test_pipe_is_not_replaced(server: MediaServer, tmp_path: Path, overwrite: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    media_id = server.servicer.add(b"x", "note.txt")
    async with server.client() as client:
        with pytest.raises(InvalidRequest, match="is not a file"):
            await client.files.download(media_id, tmp_path / "pipe", overwrite=overwrite)
    assert names(tmp_path) == ["pipe"]
    assert (tmp_path / "pipe").is_fifo()


async def test_missing_variant_is_not_found(server: MediaServer, tmp_path: Path) -> None:
    media_id = server.servicer.add(b"x", "note.txt")
    async with server.client() as client:
        with pytest.raises(NotFound, match="no thumbnail"):
            await client.files.download(media_id, tmp_path, variant=MediaVariant.THUMBNAIL)


async def test_partial_file_of_another_download_is_kept(server: MediaServer, tmp_path: Path) -> None:
    other = ExpectedFile("c" * 32, 1, 10, "")
    partial = open_partial(tmp_path / "photo.jpg", other, overwrite=False)
    assert partial is not None
    media_id = server.servicer.add(b"new", "photo.jpg")
    async with server.client() as client:
        with pytest.raises(NotPossibleNow, match="another program"):
            await client.files.download(media_id, tmp_path, overwrite=True)
        assert (await client.files.download(media_id, tmp_path)).name == "photo (1).jpg"
        partial.close()
        assert (await client.files.download(media_id, tmp_path)).name == "photo (2).jpg"
    assert names(tmp_path) == ["photo (1).jpg", "photo (2).jpg", "photo.jpg.part", "photo.jpg.part.json"]


async def test_partial_file_that_is_a_link_is_not_followed(server: MediaServer, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"keep")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "photo.jpg.part").symlink_to(precious)
    media_id = server.servicer.add(b"new", "photo.jpg")
    async with server.client() as client:
        with pytest.raises(OSError, match="symbolic link"):
            await client.files.download(media_id, folder)
    assert precious.read_bytes() == b"keep"
