"""Uploads: by stream and in parts, continued after an interruption, repeated after failures of the store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parley.chat.v1 import chat_pb2
from parley.media.v1 import media_pb2
from parley_client import (
    ContentTooLarge,
    FileChanged,
    FileStore,
    InvalidRequest,
    MediaRejected,
    QuotaExceeded,
    TransferInterrupted,
    contents,
)
from parley_client.media import persistence
from servicekit.failure import Failure, Violation
from tests.unit.client.media_server import PART_BYTES, MediaServer, media_server

CONTENT = os.urandom(12 * PART_BYTES + 1234)
PARTS = 13


@pytest.fixture
async def server() -> AsyncIterator[MediaServer]:
    async with media_server() as server:
        yield server


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(CONTENT)
    return path


class Reports:
    """The reported progress, which must never go back and end at the total."""

    def __init__(self) -> None:
        self.reported: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        assert not self.reported or self.reported[-1][0] < done, self.reported
        self.reported.append((done, total))

    @property
    def complete(self) -> bool:
        done, total = self.reported[-1]
        return done == total


async def test_small_file_goes_up_by_stream(server: MediaServer, tmp_path: Path) -> None:
    path, reports = tmp_path / "note.txt", Reports()
    path.write_bytes(b"x" * 700_000)
    async with server.client() as client:
        media = await client.files.upload(path, waveform=b"\x01\x02", on_progress=reports)
    assert server.store.files[media.media_id] == b"x" * 700_000
    announced = server.servicer.announced[media.media_id]
    assert (announced.file_name, announced.waveform, len(announced.sha256)) == ("note.txt", b"\x01\x02", 32)
    assert server.servicer.calls == ["Upload"]
    assert reports.complete
    assert contents.media(media, "look").media == contents.media(media.media_id, "look").media


async def test_large_file_goes_up_in_parts(server: MediaServer, large: Path) -> None:
    reports = Reports()
    async with server.client() as client:
        media = await client.files.upload(large, on_progress=reports)
    assert server.store.files[media.media_id] == CONTENT
    assert sorted(server.store.put_parts) == list(range(1, PARTS + 1))
    assert reports.complete
    assert len(reports.reported) > PARTS


@pytest.mark.parametrize("another_process", [False, True], ids=["same client", "another process"])
async def test_cancelled_upload_sends_only_missing_parts_next_time(
    server: MediaServer, large: Path, tmp_path: Path, another_process: bool
) -> None:
    store = FileStore(tmp_path / "alice.json")
    async with server.client(store) as client:
        server.store.requests_until_pause = 5
        uploading = asyncio.create_task(client.files.upload(large))
        await server.store.paused.wait()
        uploading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await uploading
        assert len(server.store.put_parts) == 5
        server.store.requests_until_pause = None
        if not another_process:
            await client.files.upload(large)
    reports = Reports()
    if another_process:
        async with server.client(store) as client:
            await client.files.upload(large, on_progress=reports)
        assert reports.complete
        assert reports.reported[0][0] >= PART_BYTES
    assert sorted(server.store.put_parts) == list(range(1, PARTS + 1)), "a part was sent twice"
    assert server.servicer.calls.count("CreateUpload") == 1
    assert list(server.store.files.values()) == [CONTENT]
    assert not store.uploads_path.exists()


async def test_upload_that_the_server_aborted_begins_anew(server: MediaServer, large: Path, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "alice.json")
    async with server.client(store) as client:
        server.store.requests_until_pause = 5
        uploading = asyncio.create_task(client.files.upload(large))
        await server.store.paused.wait()
        uploading.cancel()
        await asyncio.wait([uploading])
        server.store.requests_until_pause = None
        server.servicer.announced.clear()
        media = await client.files.upload(large)
    assert server.store.files[media.media_id] == CONTENT
    assert server.servicer.calls.count("CreateUpload") == 2


async def test_failures_of_the_store_are_repeated(server: MediaServer, large: Path) -> None:
    server.store.statuses.extend([503, 500, 200, 503, 429])
    reports = Reports()
    async with server.client() as client:
        media = await client.files.upload(large, on_progress=reports)
    assert server.store.files[media.media_id] == CONTENT
    assert reports.complete


async def test_expired_urls_are_renewed(server: MediaServer, large: Path) -> None:
    def expire(done: int, _: int) -> None:
        if done > 5 * PART_BYTES:
            server.store.signature = "second"

    async with server.client() as client:
        media = await client.files.upload(large, on_progress=expire)
    assert server.store.files[media.media_id] == CONTENT
    assert 1 <= server.servicer.calls.count("ListUploadParts") <= 4


async def test_store_that_stays_away_ends_the_upload_with_a_retryable_error(
    server: MediaServer, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persistence.Persistence.__init__, "__defaults__", (0.1,))
    server.store.statuses.extend([503] * 100)
    async with server.client() as client:
        with pytest.raises(TransferInterrupted) as interrupted:
            await client.files.upload(large)
        assert interrupted.value.retryable
        server.store.statuses.clear()
        media = await client.files.upload(large)
    assert server.store.files[media.media_id] == CONTENT
    assert server.servicer.calls.count("CreateUpload") == 1


async def test_completion_is_awaited(server: MediaServer, large: Path) -> None:
    not_ready = Failure("verifying", code="UNAVAILABLE", reason="MEDIA_NOT_READY", retry_after=0.01)
    server.servicer.failures.extend([not_ready, not_ready])
    server.servicer.states.extend([media_pb2.MEDIA_STATE_SCANNING, media_pb2.MEDIA_STATE_SCANNING])
    async with server.client() as client:
        await client.files.upload(large)
    assert server.servicer.calls.count("CompleteUpload") == 3


async def test_rejected_file_is_an_error(server: MediaServer, tmp_path: Path) -> None:
    path = tmp_path / "virus.exe"
    path.write_bytes(b"harm")
    server.servicer.states.extend([media_pb2.MEDIA_STATE_SCANNING, media_pb2.MEDIA_STATE_REJECTED])
    async with server.client() as client:
        with pytest.raises(MediaRejected):
            await client.files.upload(path)


async def test_refused_completion_is_not_continued(server: MediaServer, large: Path) -> None:
    differs = Failure(
        "differs",
        code="INVALID_ARGUMENT",
        reason="FIELD_INVALID",
        violations=(Violation("file.sha256", "differs"),),
    )
    server.servicer.failures.append(differs)
    async with server.client() as client:
        with pytest.raises(InvalidRequest):
            await client.files.upload(large)
        assert server.servicer.calls[-1] == "AbortUpload"
        await client.files.upload(large)
    assert server.servicer.calls.count("CreateUpload") == 2


async def test_file_that_changes_during_the_upload_is_named(server: MediaServer, large: Path) -> None:
    def change(done: int, _: int) -> None:
        if done > PART_BYTES:
            os.truncate(large, 3 * PART_BYTES)

    async with server.client() as client:
        with pytest.raises(FileChanged, match=r"film\.mp4 changed"):
            await client.files.upload(large, on_progress=change)


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", QuotaExceeded),
        ("FAILED_PRECONDITION", "MEDIA_REJECTED", MediaRejected),
    ],
)
async def test_refusals_of_files_have_classes(
    server: MediaServer, tmp_path: Path, code: str, reason: str, expected: type[Exception]
) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b"x")
    server.servicer.failures.append(Failure("no", code=code, reason=reason))
    async with server.client() as client:
        with pytest.raises(expected):
            await client.files.upload(path)
    assert server.servicer.calls == ["Upload"], "a refusal that stays is not repeated"


async def test_refusal_before_the_file_is_read_is_reported(server: MediaServer, tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b"x" * 5_000_000)
    server.servicer.refusal = Failure("no", code="RESOURCE_EXHAUSTED", reason="QUOTA_EXCEEDED")
    async with server.client() as client:
        for _ in range(5):
            with pytest.raises(QuotaExceeded):
                await client.files.upload(path)


async def test_file_above_a_lower_limit_goes_up_in_parts(server: MediaServer, tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b"x" * 100)
    server.servicer.failures.append(Failure("too large", code="INVALID_ARGUMENT", reason="CONTENT_TOO_LARGE"))
    async with server.client() as client:
        media = await client.files.upload(path)
    assert server.store.files[media.media_id] == b"x" * 100


async def test_file_above_the_told_limit_is_refused_before_it_is_read(server: MediaServer, large: Path) -> None:
    async with server.client() as client:
        client.files.set_limits(chat_pb2.Limits(media_file_bytes=len(CONTENT) - 1))
        with pytest.raises(ContentTooLarge):
            await client.files.upload(large)
    assert server.servicer.calls == []


async def test_empty_file_and_folder_are_refused(server: MediaServer, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    async with server.client() as client:
        for path in (empty, tmp_path):
            with pytest.raises(InvalidRequest):
                await client.files.upload(path)
        with pytest.raises(FileNotFoundError):
            await client.files.upload(tmp_path / "missing")
