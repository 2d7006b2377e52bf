"""The contract of the store of objects, which every implementation must pass: here S3, on a real SeaweedFS."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, suppress
from urllib.parse import quote

import httpx2
import pytest

from devstack.stack import Stack
from media_service.model.object_store import ObjectNotFound, ObjectStore, StoredPart
from media_service.storage.s3 import S3ObjectStore
from media_service.storage.s3_transport import S3Limits
from servicekit.clock import SystemClock
from tests.eventually import eventually
from tests.s3 import s3_settings

pytestmark = pytest.mark.integration

KIB, MIB = 1 << 10, 1 << 20
# The smallest part that S3 accepts, but for the last.
PART = 5 * MIB
EXPIRES_S = 60


@pytest.fixture
async def store(seaweedfs: Stack) -> AsyncIterator[ObjectStore]:
    # Small pages, so that listings have several.
    store = S3ObjectStore(s3_settings(seaweedfs), SystemClock(), S3Limits(page_items=3))
    await store.prepare()
    yield store
    await store.close()


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        yield client


@pytest.fixture
def key() -> str:
    return f"original/{uuid.uuid4().hex}"


async def stream(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def put(store: ObjectStore, key: str, data: bytes) -> None:
    await store.put(key, len(data), stream([data]))


async def read(store: ObjectStore, key: str, offset: int = 0, length: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(key, offset, length)])


async def upload_parts(store: ObjectStore, client: httpx2.AsyncClient, key: str, parts: list[bytes]) -> str:
    upload_id = await store.create_parts(key)
    for number, part in enumerate(parts, 1):
        url = store.sign_part(key, upload_id, number, len(part), EXPIRES_S)
        (await client.put(url, content=part)).raise_for_status()
    return upload_id


# Objects


async def test_object_is_read_as_it_was_put(store: ObjectStore, key: str) -> None:
    data = os.urandom(3 * MIB + 7)
    await store.put(key, len(data), stream(data[start : start + 100_000] for start in range(0, len(data), 100_000)))
    assert await read(store, key) == data
    assert await store.size_of(key) == len(data)


async def test_chunks_are_at_most_64_kib(store: ObjectStore, key: str) -> None:
    await put(store, key, bytes(MIB))
    assert max([len(chunk) async for chunk in store.read(key)]) <= 64 * KIB


@pytest.mark.parametrize("chunks", [[], [b""], [b"", b"a", b"", b"bc", b""]])
async def test_empty_chunks_and_objects_are_stored(store: ObjectStore, key: str, chunks: list[bytes]) -> None:
    data = b"".join(chunks)
    await store.put(key, len(data), stream(chunks))
    assert await read(store, key) == data
    assert await store.size_of(key) == len(data)
    assert await read(store, key, 0, 10) == data


@pytest.mark.parametrize(
    ("offset", "length"), [(0, None), (0, 1), (0, 256), (1, 254), (255, 1), (255, None), (100, 500), (256, 1), (999, 5)]
)
async def test_range_is_read(store: ObjectStore, key: str, offset: int, length: int | None) -> None:
    data = bytes(range(256))
    await put(store, key, data)
    assert await read(store, key, offset, length) == data[offset : None if length is None else offset + length]


@pytest.mark.parametrize(("offset", "length"), [(0, 0), (5, 0), (5, -1), (-1, 5), (-1, None)])
async def test_empty_range_is_refused(store: ObjectStore, key: str, offset: int, length: int | None) -> None:
    await put(store, key, b"data")
    with pytest.raises(ValueError, match="range"):
        await read(store, key, offset, length)


async def test_later_object_replaces_an_earlier_one(store: ObjectStore, key: str) -> None:
    await put(store, key, b"the first one")
    await put(store, key, b"the second")
    assert await read(store, key) == b"the second"


async def test_missing_object_is_not_found(store: ObjectStore, key: str) -> None:
    assert await store.size_of(key) is None
    with pytest.raises(ObjectNotFound):
        await read(store, key)
    with pytest.raises(ObjectNotFound):
        await read(store, key, 5, 5)


async def test_read_that_ends_early_leaves_the_store_usable(store: ObjectStore, key: str) -> None:
    await put(store, key, bytes(4 * MIB))
    for _ in range(3):
        async with aclosing(store.read(key)) as chunks:
            assert await anext(chunks)
    assert await store.size_of(key) == 4 * MIB


async def test_deleted_objects_are_gone_and_missing_ones_are_ignored(store: ObjectStore, key: str) -> None:
    keys = [f"{key}/{number}" for number in range(20)]
    for each in keys[:10]:
        await put(store, each, b"data")
    await put(store, f"{key}/kept", b"data")
    await store.delete(keys)
    assert [await store.size_of(each) for each in keys] == [None] * 20
    assert await store.size_of(f"{key}/kept") == 4
    await store.delete([])


@pytest.mark.parametrize("name", ["a b", "a+b", "a%2Fb", "~()'!*,;=&$@:", "x.jpg", "UPPER-lower_0.9"])
async def test_any_ascii_key_is_one_object(store: ObjectStore, client: httpx2.AsyncClient, key: str, name: str) -> None:
    named = f"{key}/{name}"
    await put(store, named, b"data")
    assert await read(store, named) == b"data"
    assert (await client.get(store.sign_download(named, EXPIRES_S, "text/plain", "inline"))).content == b"data"
    upload_id = await upload_parts(store, client, named, [b"other"])
    await store.complete_parts(named, upload_id, await store.list_parts(named, upload_id))
    assert await read(store, named) == b"other"
    await store.delete([named])
    assert await store.size_of(named) is None


# Sources of the wrong size, that fail, or that are cancelled


@pytest.mark.parametrize("chunks", [[b"x" * 99], [b"x" * 50, b"x" * 51], [b"x" * 100, b"x"], [], [b"x" * MIB] * 5])
async def test_source_of_another_size_is_not_stored(store: ObjectStore, key: str, chunks: list[bytes]) -> None:
    await put(store, key, b"before")
    with pytest.raises(ValueError, match="100"):
        await store.put(key, 100, stream(chunks))
    assert await read(store, key) == b"before"


class SourceFailed(Exception):
    pass


@pytest.mark.parametrize("error", [SourceFailed("source"), TimeoutError("source"), ConnectionResetError("source")])
@pytest.mark.parametrize("given", [0, 1, 6 * MIB, 8 * MIB])
async def test_failure_of_the_source_is_raised_and_nothing_is_stored(
    store: ObjectStore, key: str, error: Exception, given: int
) -> None:
    async def fail_after_bytes() -> AsyncIterator[bytes]:
        for start in range(0, given, 64 * KIB):
            yield bytes(min(64 * KIB, given - start))
        raise error

    with pytest.raises(type(error)) as raised:
        await store.put(key, 8 * MIB, fail_after_bytes())
    assert raised.value is error
    assert await store.size_of(key) is None


async def test_cancelled_put_stores_nothing(store: ObjectStore, key: str) -> None:
    taken = asyncio.Event()

    async def stall() -> AsyncIterator[bytes]:
        for _ in range(7):
            yield bytes(MIB)
        taken.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.put(key, 8 * MIB, stall()))
    await taken.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.size_of(key) is None
    await put(store, key, b"data")
    assert await read(store, key) == b"data"


async def test_object_is_visible_only_once_it_is_complete(store: ObjectStore, key: str) -> None:
    async def look_before_the_end() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield bytes(MIB)
        assert await store.size_of(key) is None
        yield bytes(MIB)

    await store.put(key, 7 * MIB, look_before_the_end())
    assert await store.size_of(key) == 7 * MIB


# Uploads in parts


async def test_parts_are_joined_in_order(store: ObjectStore, client: httpx2.AsyncClient, key: str) -> None:
    parts = [os.urandom(PART), os.urandom(PART), os.urandom(1000)]
    upload_id = await upload_parts(store, client, key, parts)
    stored = await store.list_parts(key, upload_id)
    assert [(part.number, part.size_bytes) for part in stored] == [(1, PART), (2, PART), (3, 1000)]
    assert await store.size_of(key) is None
    await store.complete_parts(key, upload_id, stored)
    assert await store.size_of(key) == 2 * PART + 1000
    assert hashlib.sha256(await read(store, key)).digest() == hashlib.sha256(b"".join(parts)).digest()
    assert await read(store, key, PART - 2, 4) == parts[0][-2:] + parts[1][:2]
    with pytest.raises(ObjectNotFound):
        await store.list_parts(key, upload_id)


async def test_upload_without_parts_has_an_empty_list(store: ObjectStore, key: str) -> None:
    assert await store.list_parts(key, await store.create_parts(key)) == []


async def test_part_that_is_sent_again_replaces_the_earlier_one(
    store: ObjectStore, client: httpx2.AsyncClient, key: str
) -> None:
    upload_id = await upload_parts(store, client, key, [same := bytes(PART), b"first"])
    for number, part in ((1, same), (2, b"other")):
        url = store.sign_part(key, upload_id, number, len(part), EXPIRES_S)
        (await client.put(url, content=part)).raise_for_status()
    stored = await store.list_parts(key, upload_id)
    assert [part.number for part in stored] == [1, 2]
    await store.complete_parts(key, upload_id, stored)
    assert await read(store, key) in (same + b"first", same + b"other")


async def test_list_of_parts_has_all_pages(store: ObjectStore, client: httpx2.AsyncClient, key: str) -> None:
    upload_id = await upload_parts(store, client, key, [b"%d" % number for number in range(1, 12)])
    assert [part.number for part in await store.list_parts(key, upload_id)] == list(range(1, 12))


async def test_completing_again_changes_nothing(store: ObjectStore, client: httpx2.AsyncClient, key: str) -> None:
    upload_id = await upload_parts(store, client, key, [b"data"])
    stored = await store.list_parts(key, upload_id)
    await store.complete_parts(key, upload_id, stored)
    with suppress(ObjectNotFound):
        await store.complete_parts(key, upload_id, stored)
    assert await read(store, key) == b"data"


async def test_unknown_upload_is_not_found(store: ObjectStore, client: httpx2.AsyncClient, key: str) -> None:
    upload_id = await upload_parts(store, client, key, [b"data"])
    stored = await store.list_parts(key, upload_id)
    await store.abort_parts(key)
    with pytest.raises(ObjectNotFound):
        await store.list_parts(key, upload_id)
    with pytest.raises(ObjectNotFound):
        await store.complete_parts(key, upload_id, stored)
    assert await store.size_of(key) is None
    assert (await client.put(store.sign_part(key, upload_id, 2, 4, EXPIRES_S), content=b"data")).status_code == 404


async def test_abort_ends_all_uploads_to_its_key_alone(
    store: ObjectStore, client: httpx2.AsyncClient, key: str
) -> None:
    await put(store, key, b"kept")
    aborted = [await upload_parts(store, client, key, [b"data"]) for _ in range(5)]
    others = {
        f"{key}{suffix}": await upload_parts(store, client, f"{key}{suffix}", [b"data"]) for suffix in "abcdefghijkl"
    }
    # The store lists the uploads of all these keys, in an order of its own, and in pages of three.
    await store.abort_parts(key)
    await store.abort_parts(key)
    for upload_id in aborted:
        with pytest.raises(ObjectNotFound):
            await store.list_parts(key, upload_id)
    for other, upload_id in others.items():
        assert len(await store.list_parts(other, upload_id)) == 1
    assert await read(store, key) == b"kept"


async def test_parts_of_another_tag_are_not_joined(store: ObjectStore, client: httpx2.AsyncClient, key: str) -> None:
    upload_id = await upload_parts(store, client, key, [b"data"])
    with pytest.raises(Exception, match="again"):
        await store.complete_parts(key, upload_id, [StoredPart(1, 4, "0" * 32)])
    assert await store.size_of(key) is None


# Signed addresses


async def test_part_of_another_size_is_refused(store: ObjectStore, client: httpx2.AsyncClient, key: str) -> None:
    upload_id = await store.create_parts(key)
    url = store.sign_part(key, upload_id, 1, 1000, EXPIRES_S)
    for size in (0, 1, 999, 1001, MIB):
        assert (await client.put(url, content=bytes(size))).status_code == 403
    assert (await client.put(url, content=stream([bytes(1000)]))).status_code in (403, 411)
    assert await store.list_parts(key, upload_id) == []
    assert (await client.put(url, content=bytes(1000))).status_code == 200


async def test_altered_address_of_a_part_is_refused(store: ObjectStore, client: httpx2.AsyncClient, key: str) -> None:
    upload_id, other_id = await store.create_parts(key), await store.create_parts(key)
    url = store.sign_part(key, upload_id, 1, 4, EXPIRES_S)
    altered = [
        url.replace("partNumber=1", "partNumber=2"),
        url.replace(upload_id, other_id),
        url.replace(key, f"{key}0"),
        url.replace("SignedHeaders=content-length%3Bhost", "SignedHeaders=host"),
        url.replace(f"Expires={EXPIRES_S}", "Expires=604800"),
        f"{url}&versionId=1",
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.split("?")[0],
    ]
    assert url not in altered
    for each in altered:
        assert (await client.put(each, content=b"data")).status_code == 403, each
    for method in ("GET", "HEAD", "DELETE", "POST"):
        assert (await client.request(method, url, content=b"data")).status_code == 403
    # A copy of another object into the part.
    copied = await client.put(url, content=b"data", headers={"x-amz-copy-source": f"/media/{quote(key)}"})
    assert copied.status_code == 403
    assert await store.list_parts(key, upload_id) == await store.list_parts(key, other_id) == []


async def test_expired_address_is_refused(store: ObjectStore, client: httpx2.AsyncClient, key: str) -> None:
    upload_id = await upload_parts(store, client, key, [b"data"])
    await put(store, key, b"data")
    part, download = store.sign_part(key, upload_id, 1, 4, 1), store.sign_download(key, 1, "text/plain", "inline")

    async def both_are_refused() -> bool:
        answers = await client.put(part, content=b"data"), await client.get(download)
        return [answer.status_code for answer in answers] == [403, 403]

    await eventually(both_are_refused)


async def test_download_has_the_signed_type_and_disposition(
    store: ObjectStore, client: httpx2.AsyncClient, key: str
) -> None:
    await put(store, key, bytes(range(100)))
    disposition = "attachment; filename*=UTF-8''gr%C3%BC%C3%9Fe%20%26%20%2B.txt"
    url = store.sign_download(key, EXPIRES_S, "text/plain; charset=utf-8", disposition)
    whole = await client.get(url)
    assert whole.content == bytes(range(100))
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert whole.headers["content-disposition"] == disposition
    part = await client.get(url, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    assert part.headers["content-disposition"] == disposition


async def test_altered_address_of_a_download_is_refused(
    store: ObjectStore, client: httpx2.AsyncClient, key: str
) -> None:
    await put(store, key, b"data")
    await put(store, f"{key}0", b"data")
    url = store.sign_download(key, EXPIRES_S, "text/plain", "attachment")
    altered = [
        url.replace("attachment", "inline"),
        url.replace("text%2Fplain", "text%2Fhtml"),
        url.replace(key, f"{key}0"),
        f"{url}&response-cache-control=public",
        url.split("?")[0],
    ]
    assert url not in altered
    for each in altered:
        assert (await client.get(each)).status_code == 403, each
    for method in ("PUT", "DELETE", "POST"):
        assert (await client.request(method, url, content=b"data")).status_code in (403, 405)
    assert await read(store, key) == b"data"


@pytest.mark.parametrize("expires_s", [0, -1, 7 * 24 * 3600 + 1])
def test_address_without_a_permitted_time_is_not_signed(store: ObjectStore, key: str, expires_s: int) -> None:
    with pytest.raises(ValueError, match="seconds"):
        store.sign_download(key, expires_s, "text/plain", "inline")
