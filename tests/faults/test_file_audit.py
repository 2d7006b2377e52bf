"""The audit of a real system finds nothing, and then the objects that were put there, and the one that was deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from random import Random

import pytest

from devstack.services import CHAT, MEDIA
from devstack.stack import Stack
from tests.faults.files.album import Album
from tests.faults.files.judge import broken_file_promises
from tests.raw.bucket import Bucket
from tests.raw.world import World

pytestmark = [pytest.mark.fault, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("small"), chat_servers=1, services=(CHAT, MEDIA)) as stack:
        yield stack


@pytest.fixture
async def album(small_stack: Stack) -> AsyncIterator[Album]:
    """Files that are all sent: the system keeps those to which nothing refers for a day."""
    async with World(small_stack) as world, Album(world, Random(1)) as album:
        for uploader in album.uploaders:
            for action in (uploader.upload_and_send, uploader.upload_twice, uploader.forward, uploader.download):
                await action()
        assert not album.errors
        yield album


async def broken(album: Album) -> list[str]:
    """Return what the judge says of the system as it is now."""
    holdings, _ = await album.settle(timeout=0.0)
    return [str(each) for each in broken_file_promises(album.journal, holdings)]


async def test_objects_that_are_lost_and_left_behind_are_found(small_stack: Stack, album: Album) -> None:
    bucket = Bucket(small_stack)
    assert await broken(album) == []
    assert len(await bucket.objects()) >= len(album.uploaders)
    await bucket.put(f"{'0' * 32}/sent", b"stray")
    await bucket.begin_upload(f"{'1' * 32}/sent")
    found = await broken(album)
    assert [each.split(" is left")[0] for each in found] == [
        f"P13 removed: the object {'0' * 32}/sent",
        f"P13 removed: the upload in parts to {'1' * 32}/sent",
    ]
    key = next(key for key in (await album.take_stock()).needed if not key.endswith("/thumbnail"))
    await bucket.delete(key)
    lost = [each for each in await broken(album) if each.startswith("P13 kept")]
    assert any(f"needs the object {key}, which is not there" in each for each in lost), lost
    assert any("cannot download it" in each for each in lost), lost
