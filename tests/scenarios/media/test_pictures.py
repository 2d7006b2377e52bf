"""Pictures: they are drawn at once, look as they did, and tell nobody where they were taken."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Iterator

import grpc
import pytest
from PIL import Image

from parley.media.v1 import media_pb2
from tests.media_files import sample_pictures
from tests.raw.media import RawMedia
from tests.raw.world import World
from tests.scenarios.media.conftest import Files

pytestmark = pytest.mark.scenario

CONCURRENT = 200
# Such a crowd may keep a busy machine from its stores for some seconds. Clients repeat a call that is UNAVAILABLE.
ATTEMPTS = 4
TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}


@pytest.fixture
async def alice(world: World, files: Files) -> RawMedia:
    return files.of(await world.user("alice"))


def photo(size: tuple[int, int] = (1600, 1200), **options: object) -> bytes:
    """Return a JPEG of a gradient, with a position and a comment."""
    exif = Image.Exif()
    exif[0x0110] = "Secret Camera"
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 29.0)
    out = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize(size).save(
        out, "JPEG", exif=exif, comment=b"taken at home", **options
    )
    return out.getvalue()


async def test_photo_loses_its_position_and_no_pixel(alice: RawMedia) -> None:
    sent = photo()
    assert b"Secret Camera" in sent
    assert b"taken at home" in sent
    media = await alice.upload(sent, file_name="holiday.jpg", sha256=hashlib.sha256(sent).digest())
    stored = (await alice.download(media.media_id)).data
    assert b"Secret Camera" not in stored
    assert b"taken at home" not in stored
    assert not Image.open(io.BytesIO(stored)).getexif()
    assert Image.open(io.BytesIO(stored)).tobytes() == Image.open(io.BytesIO(sent)).tobytes()
    assert (media.size_bytes, media.sha256) == (len(stored), hashlib.sha256(stored).digest())
    assert (media.kind, media.content_type) == (media_pb2.MEDIA_KIND_IMAGE, "image/jpeg")
    assert (media.width, media.height) == (1600, 1200)


async def test_photo_in_parts_loses_its_position(alice: RawMedia) -> None:
    media = await alice.upload_parts(photo(), file_name="holiday.jpg")
    response = await alice.http.get(await alice.address(media.media_id))
    assert b"Secret Camera" not in response.content
    assert hashlib.sha256(response.content).digest() == media.sha256
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["content-disposition"] == "inline; filename*=UTF-8''holiday.jpg"
    saved = await alice.http.get(await alice.address(media.media_id, as_attachment=True))
    assert saved.headers["content-disposition"].startswith("attachment")


async def test_photo_has_smaller_pictures_and_a_placeholder(alice: RawMedia) -> None:
    media = await alice.upload(photo((3000, 2000), quality=95))
    assert 15 <= len(media.thumbhash) <= 32
    assert media.blurhash == ""
    for variant, described, side in (
        (media_pb2.MEDIA_VARIANT_THUMBNAIL, media.thumbnail, 320),
        (media_pb2.MEDIA_VARIANT_PREVIEW, media.preview, 1280),
    ):
        found = await alice.download(media.media_id, variant=variant)
        picture = Image.open(io.BytesIO(found.data))
        assert (found.header.content_type, picture.format) == ("image/webp", "WEBP")
        assert picture.size == (described.width, described.height)
        assert max(picture.size) == side
        assert len(found.data) == described.size_bytes == found.header.total_bytes
        fetched = await alice.http.get(await alice.address(media.media_id, variant=variant))
        assert fetched.content == found.data


async def test_encrypted_file_is_never_touched(alice: RawMedia) -> None:
    sent = photo()
    media = await alice.upload(sent, content_type="application/octet-stream", file_name="x")
    assert (media.kind, media.content_type) == (media_pb2.MEDIA_KIND_FILE, "application/octet-stream")
    assert not media.HasField("thumbnail")
    assert media.thumbhash == b""
    assert (await alice.download(media.media_id)).data == sent


async def test_many_real_pictures_go_up_and_down_at_once(world: World, files: Files) -> None:
    pictures = [path.read_bytes() for path in sample_pictures()]
    senders = [files.of(await world.user(f"sender-{number}")) for number in range(10)]

    async def send(number: int) -> tuple[bytes, media_pb2.Media]:
        data, sender = pictures[number % len(pictures)], senders[number % len(senders)]
        # Each is another file: identical ones would share their bytes.
        way = sender.upload_parts if number % 3 == 0 else sender.upload
        media = await way(data, file_name=f"{number}.picture", sha256=hashlib.sha256(data).digest())
        got = (await sender.download(media.media_id)).data
        assert hashlib.sha256(got).digest() == media.sha256
        return got, media

    async def send_at_last(number: int) -> tuple[bytes, media_pb2.Media]:
        for _ in range(ATTEMPTS - 1):
            try:
                return await send(number)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
        return await send(number)

    results = await asyncio.gather(*map(send_at_last, range(CONCURRENT)))
    for number, (data, media) in enumerate(results):
        sent = Image.open(io.BytesIO(pictures[number % len(pictures)]))
        got = Image.open(io.BytesIO(data))
        assert (got.format, got.size) == (sent.format, sent.size)
        assert list(frames_of(got)) == list(frames_of(sent))
        assert media.content_type == TYPES[str(sent.format)]
        assert media.HasField("thumbnail")


def frames_of(picture: Image.Image) -> Iterator[bytes]:
    """Yield the pixels of each frame."""
    for index in range(getattr(picture, "n_frames", 1)):
        picture.seek(index)
        yield picture.convert("RGBA").tobytes()
