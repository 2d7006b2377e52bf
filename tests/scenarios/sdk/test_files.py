"""Files of the SDK on the running system: small and large, interrupted and continued, with the facts in the message."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from parley_client import (
    ContentTooLarge,
    EntryReceived,
    InvalidRequest,
    MediaKind,
    MediaVariant,
    Message,
    NotFound,
    contents,
    decode_thumbhash,
)
from parley_client.media.object_store import ObjectStore
from tests.scenarios.sdk.people import Pair, People, until
from tests.unit.client.test_uploads import Reports

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

MIB = 1 << 20
PART_BYTES = 8 * MIB


def jpeg(width: int = 800, height: int = 600) -> bytes:
    content = BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(content, "JPEG")
    return content.getvalue()


@pytest.fixture
def sent_parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the parts that the store has taken, by the client of this process."""
    parts: list[int] = []
    put = ObjectStore.put

    async def record(
        self: ObjectStore, url: str, headers: Mapping[str, str], body: AsyncIterator[bytes], size_bytes: int
    ) -> None:
        await put(self, url, headers, body, size_bytes)
        parts.append(int(parse_qs(urlsplit(url).query)["partNumber"][0]))

    monkeypatch.setattr(ObjectStore, "put", record)
    return parts


@pytest.fixture
def requested_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of the ranges that were requested from the store."""
    lengths: list[int] = []
    get = ObjectStore.get

    def record(self: ObjectStore, url: str, offset: int, length: int) -> AsyncIterator[bytes]:
        lengths.append(length)
        return get(self, url, offset, length)

    monkeypatch.setattr(ObjectStore, "get", record)
    return lengths


async def newest(pair: Pair) -> Message:
    [message] = [each async for each in pair.bob.messages.list_before(pair.chat, limit=1)]
    return message


async def test_picture_arrives_with_its_facts(people: People, pair: Pair, tmp_path: Path) -> None:
    picture = tmp_path / "beach.jpg"
    picture.write_bytes(jpeg())
    bobs = await people.device(pair.bob)
    alices = await people.device(pair.alice, listen=False)
    sent = await alices.send_file(pair.chat, picture, caption="look")
    entry = (await until(bobs, EntryReceived)).entry
    while not entry.HasField("message_appended"):
        entry = (await until(bobs, EntryReceived)).entry
    assert entry.seq == sent.seq
    message = await newest(pair)
    media = message.media
    assert media is not None
    assert (media.kind, media.content_type, media.file_name) == (MediaKind.IMAGE, "image/jpeg", "beach.jpg")
    assert (media.width, media.height, media.caption) == (800, 600, "look")
    assert decode_thumbhash(media.thumbhash).width == 32
    folder = tmp_path / "bob"
    folder.mkdir()
    saved = await message.download(folder)
    assert saved == folder / "beach.jpg"
    assert Image.open(saved).size == (800, 600)
    thumbnail = await message.download(folder, variant=MediaVariant.THUMBNAIL)
    assert thumbnail == folder / "beach.webp"
    assert Image.open(thumbnail).size == (320, 240)
    assert Image.open(BytesIO(await pair.bob.files.read(media, variant=MediaVariant.THUMBNAIL))).format == "WEBP"


async def test_stranger_cannot_see_the_file(people: People, pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    path.write_bytes(b"secret")
    media = await pair.alice.files.upload(path)
    carol = await people.client("carol")
    with pytest.raises(NotFound):
        await carol.files.get(media.media_id)
    with pytest.raises(NotFound):
        await carol.files.download(media, tmp_path)


async def test_file_of_1_mib_goes_by_stream_and_one_of_12_mib_in_parts(
    pair: Pair, tmp_path: Path, sent_parts: list[int], requested_bytes: list[int]
) -> None:
    for size_bytes, parts in ((MIB, []), (12 * MIB, [1, 2])):
        path, up, down = tmp_path / f"{size_bytes}.bin", Reports(), Reports()
        content = os.urandom(size_bytes)
        path.write_bytes(content)
        await pair.alice.messages.send_file(pair.chat, path, on_progress=up)
        assert sorted(sent_parts) == parts
        message = await newest(pair)
        saved = await message.download(tmp_path, on_progress=down)
        assert saved == tmp_path / f"{size_bytes} (1).bin"
        assert hashlib.sha256(saved.read_bytes()).digest() == hashlib.sha256(content).digest()
        assert up.complete
        assert down.complete
        assert down.reported[-1][1] == size_bytes
        assert sum(requested_bytes) == (size_bytes if parts else 0)


async def test_interrupted_upload_sends_only_missing_parts(pair: Pair, tmp_path: Path, sent_parts: list[int]) -> None:
    path = tmp_path / "film.bin"
    content = os.urandom(5 * PART_BYTES)
    path.write_bytes(content)
    interrupted = asyncio.Event()
    # The fifth part begins once one of the first four is stored.
    uploading = asyncio.create_task(
        pair.alice.files.upload(path, on_progress=lambda done, _: interrupted.set() if done > 33 * MIB else None)
    )
    await interrupted.wait()
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading
    sent_parts.clear()
    reports = Reports()
    media = await pair.alice.files.upload(path, on_progress=reports)
    stored_bytes = reports.reported[0][0]
    assert stored_bytes >= PART_BYTES
    assert stored_bytes + len(sent_parts) * PART_BYTES == len(content), "a part was sent twice"
    assert reports.complete
    assert media.sha256 == hashlib.sha256(content).digest()


async def test_interrupted_download_requests_only_missing_ranges(
    pair: Pair, tmp_path: Path, requested_bytes: list[int]
) -> None:
    path = tmp_path / "film.bin"
    content = os.urandom(40 * MIB)
    path.write_bytes(content)
    media = await pair.alice.files.upload(path)
    folder, interrupted = tmp_path / "saved", asyncio.Event()
    folder.mkdir()
    downloading = asyncio.create_task(
        pair.alice.files.download(
            media, folder, on_progress=lambda done, _: interrupted.set() if done > 17 * MIB else None
        )
    )
    await interrupted.wait()
    downloading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await downloading
    assert sorted(each.name for each in folder.iterdir()) == ["film.bin.part", "film.bin.part.json"]
    requested_bytes.clear()
    reports = Reports()
    saved = await pair.alice.files.download(media, folder, on_progress=reports)
    assert saved.read_bytes() == content
    assert reports.complete
    assert sum(requested_bytes) + reports.reported[0][0] == len(content)
    assert reports.reported[0][0] >= 4 * MIB
    assert [each.name for each in folder.iterdir()] == ["film.bin"]


async def test_forged_names_are_refused_or_made_safe(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "passwd\x1b[31m"
    path.write_bytes(b"x")
    with pytest.raises(InvalidRequest, match="file_name"):
        await pair.alice.files.upload(path, file_name="../../etc/passwd\x1b[31m")
    media = await pair.alice.files.upload(path)
    assert media.file_name == "passwd[31m"


async def test_voice_note_keeps_its_waveform(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "note.bin"
    path.write_bytes(os.urandom(1000))
    await pair.alice.messages.send_file(pair.chat, path, waveform=bytes(range(64)))
    media = (await newest(pair)).media
    assert media is not None
    assert media.waveform == bytes(range(64))


async def test_encrypted_file_arrives_unchanged_and_is_forwarded(people: People, pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg())
    await pair.alice.messages.send_file(pair.chat, path, content_type="application/octet-stream")
    message = await newest(pair)
    assert message.media is not None
    assert message.media.kind is MediaKind.FILE
    carol = await people.client("carol")
    assert carol.session is not None
    other = await pair.bob.conversations.get_or_create_direct(carol.session.user_id)
    await message.forward(other.conversation_id)
    [forwarded] = [each async for each in carol.messages.list_before(other.conversation_id, limit=1)]
    saved = await forwarded.download(tmp_path / "copy.jpg")
    assert saved.read_bytes() == path.read_bytes()


async def test_file_above_the_limit_is_refused(people: People, pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "huge.bin"
    with path.open("wb") as file:
        file.truncate((2 << 30) + 1)
    device = await people.device(pair.alice, listen=False)
    with pytest.raises(ContentTooLarge):
        await device.send_file(pair.chat, path)


async def test_media_id_of_another_user_cannot_be_sent(people: People, pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    path.write_bytes(b"secret")
    media = await pair.alice.files.upload(path)
    with pytest.raises(NotFound):
        await pair.bob.messages.send(pair.chat, contents.media(media))
