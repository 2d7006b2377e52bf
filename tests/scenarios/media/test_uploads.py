"""Uploads by streams and in parts: what was sent is what is downloaded, and a retry has the first result."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import grpc
import pytest

from parley.media.v1 import media_pb2
from tests.eventually import eventually
from tests.raw.media import RawMedia, describe, frames_of
from tests.raw.refusal import of_error
from tests.raw.world import World
from tests.scenarios.media.conftest import Files

pytestmark = pytest.mark.scenario

MIB = 1024 * 1024
PART = 8 * MIB


@pytest.fixture
async def alice(world: World, files: Files) -> RawMedia:
    return files.of(await world.user("alice"))


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


async def test_streamed_file_comes_back_whole_and_in_ranges(alice: RawMedia) -> None:
    data = os.urandom(3 * MIB + 17)
    media = await alice.upload(data, file_name="räksmörgås.bin", content_type="video/mp4", sha256=sha(data))
    assert (media.state, media.kind) == (media_pb2.MEDIA_STATE_READY, media_pb2.MEDIA_KIND_FILE)
    assert (media.content_type, media.file_name) == ("application/octet-stream", "räksmörgås.bin")
    assert (media.size_bytes, media.sha256, media.owner_id) == (len(data), sha(data), alice.device.user_id)
    assert await alice.get(media.media_id) == media
    whole = await alice.download(media.media_id)
    assert whole.data == data
    assert whole.header.media == media
    part = await alice.download(media.media_id, offset_bytes=1_000_000, length_bytes=99_999)
    assert part.data == data[1_000_000:1_099_999]
    header = part.header
    assert (header.offset_bytes, header.length_bytes, header.total_bytes) == (1_000_000, 99_999, len(data))
    end = await alice.download(media.media_id, offset_bytes=len(data) - 5, length_bytes=100)
    assert end.data == data[-5:]


async def test_file_in_parts_comes_back_whole(alice: RawMedia) -> None:
    data = os.urandom(2 * PART + 12345)
    media = await alice.upload_parts(data, file_name="film.mkv", sha256=sha(data))
    assert (media.size_bytes, media.sha256) == (len(data), sha(data))
    response = await alice.http.get(await alice.address(media.media_id))
    assert response.content == data
    some = await alice.http.get(await alice.address(media.media_id), headers={"range": "bytes=100-199"})
    assert (some.status_code, some.content) == (206, data[100:200])


async def test_interrupted_upload_goes_on_with_missing_parts(alice: RawMedia) -> None:
    data = os.urandom(3 * PART)
    created = await alice.create(data, sha256=sha(data))
    (await alice.put_part(data, created.parts[1])).raise_for_status()
    listing = media_pb2.ListUploadPartsRequest(media_id=created.upload.media_id)
    listed = await alice.device.call(listing)
    assert [part.stored for part in listed.parts] == [False, True, False]
    assert [bool(part.url) for part in listed.parts] == [True, False, True]
    early = await alice.device.refusal(media_pb2.CompleteUploadRequest(media_id=created.upload.media_id))
    assert early.reason == "FIELD_INVALID"
    assert "1, 3" in early.message
    for part in listed.parts:
        if not part.stored:
            (await alice.put_part(data, part)).raise_for_status()
    media = await alice.complete(created.upload.media_id)
    assert media.sha256 == sha(data)
    assert await alice.complete(created.upload.media_id) == media
    assert all(part.stored for part in (await alice.device.call(listing)).parts)


async def test_parts_are_listed_in_pages(alice: RawMedia) -> None:
    request = media_pb2.CreateUploadRequest(
        request_id=str(uuid.uuid4()), file=media_pb2.FileDescription(size_bytes=4 * PART + 1), page_size=2
    )
    created = await alice.device.call(request)
    assert (created.upload.part_count, created.upload.part_size_bytes) == (5, PART)
    numbers, token, sizes = [part.part_number for part in created.parts], created.next_page_token, []
    while token:
        page = await alice.device.call(
            media_pb2.ListUploadPartsRequest(media_id=created.upload.media_id, page_size=2, page_token=token)
        )
        numbers += [part.part_number for part in page.parts]
        sizes = [part.size_bytes for part in page.parts]
        token = page.next_page_token
    assert numbers == [1, 2, 3, 4, 5]
    assert sizes == [1]


async def test_retry_has_the_first_result(alice: RawMedia) -> None:
    data, request_id = os.urandom(1000), str(uuid.uuid4())
    first = await alice.stream(frames_of(data, request_id))
    assert await alice.stream(frames_of(data, request_id)) == first
    reused = await alice.stream_refusal(frames_of(data + b"!", request_id))
    assert reused.code_and_reason == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    request = media_pb2.CreateUploadRequest(request_id=str(uuid.uuid4()), file=describe(data))
    created = await alice.device.call(request)
    assert (await alice.device.call(request)).upload == created.upload
    request.file.size_bytes += 1
    assert (await alice.device.refusal(request)).reason == "REQUEST_ID_REUSED"


async def test_identical_files_of_a_user_share_their_bytes(world: World, files: Files, alice: RawMedia) -> None:
    data = os.urandom(100_000)
    first = await alice.upload(data, file_name="a.bin")
    again = await alice.upload(data, file_name="b.bin")
    in_parts = await alice.upload_parts(data, sha256=sha(data))
    assert len({first.media_id, again.media_id, in_parts.media_id}) == 3
    assert (again.file_name, again.sha256) == ("b.bin", first.sha256)
    objects = {object_of(await alice.address(each.media_id)) for each in (first, again, in_parts)}
    assert len(objects) == 1
    bob = files.of(await world.user("bob"))
    assert object_of(await bob.address((await bob.upload(data)).media_id)) not in objects
    for each in (first, again, in_parts):
        assert (await alice.download(each.media_id)).data == data


def object_of(address: str) -> PurePosixPath:
    return PurePosixPath(urlsplit(address).path)


async def test_aborted_upload_is_gone(alice: RawMedia) -> None:
    data = os.urandom(PART + 1)
    created = await alice.create(data)
    (await alice.put_part(data, created.parts[0])).raise_for_status()
    abort = media_pb2.AbortUploadRequest(media_id=created.upload.media_id)
    await alice.device.call(abort)
    await alice.device.call(abort)
    late = await alice.put_part(data, created.parts[1])
    assert late.status_code == 404
    assert (
        await alice.device.refusal(media_pb2.GetMediaRequest(media_id=created.upload.media_id))
    ).code_and_reason == (
        "NOT_FOUND",
        "MEDIA_NOT_FOUND",
    )


async def test_abort_does_not_remove_a_complete_file(alice: RawMedia) -> None:
    data = os.urandom(1000)
    media = await alice.upload_parts(data)
    await alice.device.call(media_pb2.AbortUploadRequest(media_id=media.media_id))
    assert (await alice.download(media.media_id)).data == data


async def test_upload_that_lost_its_connection_is_sent_again(alice: RawMedia) -> None:
    data, request_id = os.urandom(2 * MIB), str(uuid.uuid4())
    frames = frames_of(data, request_id, sha256=sha(data))
    halfway = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        for frame in frames[: len(frames) // 2]:
            yield frame.SerializeToString()
        halfway.set()
        await asyncio.Event().wait()

    lost = asyncio.create_task(alice.stream(half()))
    await halfway.wait()
    lost.cancel()
    media = await retried(alice, frames)
    assert media.sha256 == sha(data)
    assert (await alice.download(media.media_id)).data == data


async def retried(alice: RawMedia, frames: list[media_pb2.UploadRequest]) -> media_pb2.Media:
    """Send an upload until the server has noticed that the call before it has ended."""
    stored: list[media_pb2.Media] = []

    async def is_stored() -> bool:
        try:
            stored.append(await alice.stream(frames))
        except grpc.aio.AioRpcError as error:
            refusal = of_error(error)
            # A status without a reason is one of the transport: the call ended while it was being written.
            if refusal.reason and refusal.code != "UNAVAILABLE":
                raise
        return bool(stored)

    await eventually(is_stored, timeout=40)
    return stored[0]
