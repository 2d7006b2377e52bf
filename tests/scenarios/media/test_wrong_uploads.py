"""Uploads that are not what they say: each is refused with its reason, and leaves nothing."""

from __future__ import annotations

import hashlib
import os
import struct
import uuid
import zlib
from collections.abc import AsyncIterator

import pytest
from google.protobuf.message import Message

from parley.media.v1 import media_pb2
from tests.raw.media import RawMedia, describe, frames_of
from tests.raw.world import World
from tests.scenarios.media.conftest import Files

pytestmark = pytest.mark.scenario

MIB = 1024 * 1024
PART = 8 * MIB
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>"
GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)


@pytest.fixture
async def alice(world: World, files: Files) -> RawMedia:
    return files.of(await world.user("alice"))


@pytest.fixture
async def mallory(world: World, files: Files) -> RawMedia:
    return files.of(await world.user("mallory"))


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """Return a PNG of these dimensions, of which only the header is right."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


async def test_wrong_digest_is_refused_and_stays_refused(alice: RawMedia) -> None:
    data, request_id = os.urandom(1000), str(uuid.uuid4())
    for _ in range(2):
        refusal = await alice.stream_refusal(frames_of(data, request_id, sha256=sha(b"other")))
        assert (refusal.reason, refusal.fields) == ("FIELD_INVALID", ("file.sha256",))
    created = await alice.create(data, sha256=sha(b"other"))
    (await alice.put_part(data, created.parts[0])).raise_for_status()
    for _ in range(2):
        refusal = await alice.device.refusal(media_pb2.CompleteUploadRequest(media_id=created.upload.media_id))
        assert (refusal.reason, refusal.fields) == ("FIELD_INVALID", ("file.sha256",))
    gone = await alice.device.refusal(media_pb2.GetMediaRequest(media_id=created.upload.media_id))
    assert gone.reason == "MEDIA_NOT_FOUND"


@pytest.mark.parametrize("announced", [999, 1001])
async def test_wrong_size_of_a_stream_is_refused(alice: RawMedia, announced: int) -> None:
    refusal = await alice.upload_refusal(os.urandom(1000), size_bytes=announced)
    assert (refusal.reason, refusal.fields) == ("FIELD_INVALID", ("start.file.size_bytes",))


async def test_file_over_the_limits_is_refused_at_once(alice: RawMedia) -> None:
    refusal = await alice.stream_refusal(frames_of(b"", size_bytes=10 * MIB + 1)[:1])
    assert refusal.code_and_reason == ("INVALID_ARGUMENT", "CONTENT_TOO_LARGE")
    request = media_pb2.CreateUploadRequest(request_id=str(uuid.uuid4()), file=describe(b"", size_bytes=2 * 1024 * MIB))
    assert (await alice.device.call(request)).upload.part_count == 256
    request.request_id = str(uuid.uuid4())
    request.file.size_bytes += 1
    assert (await alice.device.refusal(request)).reason == "CONTENT_TOO_LARGE"


@pytest.mark.parametrize("size", [0, -1])
async def test_file_without_bytes_is_refused(alice: RawMedia, size: int) -> None:
    refusal = await alice.stream_refusal(frames_of(b"", size_bytes=size))
    assert (refusal.reason, refusal.fields) == ("FIELD_INVALID", ("start.file.size_bytes",))
    request = media_pb2.CreateUploadRequest(request_id=str(uuid.uuid4()), file=describe(b"", size_bytes=size))
    assert (await alice.device.refusal(request)).fields == ("file.size_bytes",)


async def test_part_of_another_size_is_refused_by_the_store(alice: RawMedia) -> None:
    data = os.urandom(PART + 1000)
    created = await alice.create(data)
    first, second = created.parts
    longer, shorter = data[:PART] + b"!", data[: PART - 1]
    for body in (longer, shorter):
        assert (await alice.http.put(first.url, content=body)).status_code == 403
    assert (await alice.put_part(data, second)).status_code == 200
    early = await alice.device.refusal(media_pb2.CompleteUploadRequest(media_id=created.upload.media_id))
    assert early.reason == "FIELD_INVALID"


async def test_altered_address_is_refused_by_the_store(alice: RawMedia) -> None:
    data = os.urandom(PART + 1000)
    created = await alice.create(data)
    url = created.parts[0].url
    more = url.replace("partNumber=1", "partNumber=3")
    assert more != url
    for altered in (more, url.replace("/sent", "/original"), url[:-1] + ("0" if url[-1] != "0" else "1")):
        assert (await alice.http.put(altered, content=data[:PART])).status_code == 403
    assert (await alice.http.get(url)).status_code == 403


async def test_upload_of_another_user_is_not_found(alice: RawMedia, mallory: RawMedia) -> None:
    created = await alice.create(os.urandom(1000))
    media_id = created.upload.media_id
    for request in (
        media_pb2.ListUploadPartsRequest(media_id=media_id),
        media_pb2.CompleteUploadRequest(media_id=media_id),
        media_pb2.AbortUploadRequest(media_id=media_id),
        media_pb2.GetMediaRequest(media_id=media_id),
        media_pb2.GetDownloadUrlRequest(media_id=media_id),
    ):
        foreign, unknown = await mallory.device.refusal(request), await mallory.device.refusal(unknown_of(request))
        assert foreign == unknown
        assert foreign.code_and_reason == ("NOT_FOUND", "MEDIA_NOT_FOUND")
    assert (await mallory.download_refusal(media_id)).reason == "MEDIA_NOT_FOUND"


def unknown_of(request: Message) -> Message:
    """Return the same request for a file that does not exist."""
    return type(request)(media_id=uuid.uuid4().hex)


async def test_unfinished_file_cannot_be_downloaded(alice: RawMedia) -> None:
    created = await alice.create(os.urandom(1000))
    request = media_pb2.GetDownloadUrlRequest(media_id=created.upload.media_id)
    assert (await alice.device.refusal(request)).code_and_reason == ("UNAVAILABLE", "MEDIA_NOT_READY")
    found = await alice.get(created.upload.media_id)
    assert (found.state, found.kind, found.sha256) == (media_pb2.MEDIA_STATE_UPLOADING, 0, b"")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "a\\b", "a\nb", "a\x00b", "\x1b[31mred", "a\u202egnp.exe"])
async def test_name_with_a_path_or_control_characters_is_refused(alice: RawMedia, name: str) -> None:
    refusal = await alice.upload_refusal(b"x", file_name=name)
    assert (refusal.reason, set(refusal.fields)) == ("FIELD_INVALID", {"start.file.file_name"})


async def test_frames_in_a_wrong_order_are_refused(alice: RawMedia) -> None:
    start, *chunks = frames_of(os.urandom(100_000))
    for frames in (chunks, [start, start, *chunks], [], [start, media_pb2.UploadRequest()]):
        refusal = await alice.stream_refusal(frames)
        assert refusal.code_and_reason == ("INVALID_ARGUMENT", "FRAME_EMPTY")


async def test_bytes_that_are_no_frame_are_refused(alice: RawMedia) -> None:
    async def garbage() -> AsyncIterator[bytes]:
        yield frames_of(b"12345")[0].SerializeToString()
        yield b"\xff" * 100

    assert (await alice.stream_refusal(garbage())).reason == "FRAME_UNPARSABLE"


async def test_chunk_over_its_limit_is_refused(alice: RawMedia) -> None:
    data = bytes(256 * 1024 + 1)
    start, *_ = frames_of(data)
    refusal = await alice.stream_refusal([start, media_pb2.UploadRequest(chunk=data)])
    assert refusal.reason in {"FIELD_INVALID", "FRAME_TOO_LARGE"}


@pytest.mark.parametrize("data", [SVG, HTML, GIF[:10] + HTML, b"\xff\xd8\xff\xe0" + HTML, png(3, 3) + HTML])
async def test_document_dressed_as_picture_is_a_plain_file(alice: RawMedia, data: bytes) -> None:
    media = await alice.upload(data, file_name="photo.jpg", content_type="image/jpeg")
    assert (media.kind, media.content_type) == (media_pb2.MEDIA_KIND_FILE, "application/octet-stream")
    assert not media.HasField("thumbnail")
    response = await alice.http.get(await alice.address(media.media_id))
    # What follows the end of a picture is removed, whatever it is.
    assert response.content in {data, data.removesuffix(HTML)}
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"].startswith("attachment")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]


async def test_picture_that_is_also_a_document_is_only_a_picture(alice: RawMedia) -> None:
    media = await alice.upload(GIF + HTML, file_name="x.html", content_type="text/html")
    assert media.content_type == "image/gif"
    data = (await alice.download(media.media_id)).data
    assert data == GIF
    response = await alice.http.get(await alice.address(media.media_id))
    assert response.headers["content-type"] == "image/gif"


async def test_picture_of_too_many_pixels_is_refused(alice: RawMedia) -> None:
    request_id = str(uuid.uuid4())
    for _ in range(2):
        refusal = await alice.stream_refusal(frames_of(png(30_000, 30_000, zlib.compress(bytes(1000))), request_id))
        assert refusal.code_and_reason == ("INVALID_ARGUMENT", "CONTENT_TOO_LARGE")


async def test_range_after_the_end_is_refused(alice: RawMedia) -> None:
    media = await alice.upload(b"12345")
    refusal = await alice.download_refusal(media.media_id, offset_bytes=5)
    assert (refusal.reason, refusal.fields) == ("FIELD_INVALID", ("offset_bytes",))
    assert (await alice.download_refusal(media.media_id, offset_bytes=-1)).reason == "FIELD_INVALID"
    missing = await alice.download_refusal(media.media_id, variant=media_pb2.MEDIA_VARIANT_THUMBNAIL)
    assert missing.reason == "MEDIA_NOT_FOUND"


async def test_large_range_of_one_call_is_refused(alice: RawMedia) -> None:
    media = await alice.upload_parts(bytes(10 * MIB + 1))
    assert (await alice.download_refusal(media.media_id)).reason == "CONTENT_TOO_LARGE"
    assert len((await alice.download(media.media_id, offset_bytes=1)).data) == 10 * MIB


async def test_expired_address_is_refused_by_the_store(alice: RawMedia) -> None:
    """The lifetime is part of what is signed; an address whose time is set back is an altered one."""
    media = await alice.upload(b"12345")
    url = await alice.address(media.media_id)
    longer = url.replace("X-Amz-Expires=600", "X-Amz-Expires=6000")
    assert longer != url
    assert (await alice.http.get(longer)).status_code == 403
    assert (await alice.http.get(url)).content == b"12345"
    assert (await alice.http.get(url.partition("?")[0])).status_code in {403, 404}
