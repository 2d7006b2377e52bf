"""The limits of a deployment: sizes, types and quotas are told, enforced, and freed by what is removed."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from devstack.services import CHAT, MEDIA
from devstack.stack import Stack
from parley.media.v1 import media_pb2
from tests.eventually import eventually
from tests.raw.bucket import Bucket
from tests.raw.media import RawMedia, describe
from tests.raw.world import World
from tests.scenarios.conftest import ENVIRONMENT
from tests.scenarios.media.conftest import Files
from tests.scenarios.media.test_access import PNG, is_allowed, reference

pytestmark = pytest.mark.scenario

UPLOAD_BYTES, FILE_BYTES, QUOTA_BYTES, QUOTA_FILES, QUOTA_UPLOADS = 50_000, 80_000, 100_000, 6, 2
LIMITED = {
    **ENVIRONMENT,
    "PARLEY_MEDIA_UPLOAD_BYTES": str(UPLOAD_BYTES),
    "PARLEY_MEDIA_FILE_BYTES": str(FILE_BYTES),
    "PARLEY_MEDIA_TYPES": "image/*, application/octet-stream",
    "PARLEY_MEDIA_QUOTA_BYTES": str(QUOTA_BYTES),
    "PARLEY_MEDIA_QUOTA_FILES": str(QUOTA_FILES),
    "PARLEY_MEDIA_QUOTA_UPLOADS": str(QUOTA_UPLOADS),
    "PARLEY_MEDIA_COLLECTION_PAUSE_SECONDS": "0.2",
    "PARLEY_MEDIA_RECHECK_SECONDS": "1",
    "PARLEY_MEDIA_UNREFERENCED_SECONDS": "8",
    "PARLEY_MEDIA_CLAIM_SECONDS": "12",
    "PARLEY_RETENTION": "3s",
    "PARLEY_RETENTION_PAUSE_SECONDS": "0.2",
}
PATIENCE = 60


@pytest.fixture(scope="module")
def limited_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system with small limits, in which messages are removed after seconds."""
    with Stack(
        tmp_path_factory.mktemp("limited"), chat_servers=1, services=(CHAT, MEDIA), environment=LIMITED
    ) as stack:
        yield stack


@pytest.fixture
async def world(limited_stack: Stack) -> AsyncIterator[World]:
    async with World(limited_stack) as world:
        yield world


@pytest.fixture
async def alice(world: World, files: Files) -> RawMedia:
    return files.of(await world.user("alice"))


async def test_welcome_tells_the_limits(alice: RawMedia) -> None:
    limits = (await alice.device.connect()).limits
    assert (limits.media_upload_bytes, limits.media_file_bytes) == (UPLOAD_BYTES, FILE_BYTES)
    assert list(limits.media_types) == ["image/*", "application/octet-stream"]


async def test_file_over_the_limits_of_the_deployment_is_refused(alice: RawMedia) -> None:
    assert (await alice.upload(os.urandom(UPLOAD_BYTES))).size_bytes == UPLOAD_BYTES
    assert (await alice.upload_refusal(os.urandom(UPLOAD_BYTES + 1))).reason == "CONTENT_TOO_LARGE"
    request = media_pb2.CreateUploadRequest(request_id=str(uuid.uuid4()), file=describe(b"", size_bytes=FILE_BYTES + 1))
    assert (await alice.device.refusal(request)).reason == "CONTENT_TOO_LARGE"


async def test_type_that_is_not_permitted_is_refused(alice: RawMedia) -> None:
    assert (await alice.upload(PNG)).content_type == "image/png"
    refusal = await alice.upload_refusal(b"%PDF-1.7\n" + os.urandom(100), content_type="image/png")
    assert (refusal.reason, refusal.fields) == ("FIELD_INVALID", ("file",))
    # It is the detected type that counts, and an encrypted file is not looked at.
    encrypted = await alice.upload(b"%PDF-1.7\n" + os.urandom(100), content_type="application/octet-stream")
    assert encrypted.content_type == "application/octet-stream"


async def test_bytes_over_the_quota_are_refused_until_some_are_freed(alice: RawMedia) -> None:
    first = await alice.upload(os.urandom(UPLOAD_BYTES))
    await alice.upload(os.urandom(UPLOAD_BYTES - 10))
    refusal = await alice.upload_refusal(os.urandom(11))
    assert refusal.code_and_reason == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert refusal.retry_after
    assert (await alice.upload(os.urandom(10))).size_bytes == 10
    # Nothing refers to the files: they are removed.
    await eventually(lambda: is_gone(alice, first.media_id), timeout=PATIENCE)
    await alice.upload(os.urandom(UPLOAD_BYTES))


async def is_gone(alice: RawMedia, media_id: str) -> bool:
    return not await is_allowed(alice.get(media_id))


async def test_number_of_files_is_bounded(alice: RawMedia) -> None:
    for _ in range(QUOTA_FILES):
        await alice.upload(os.urandom(10))
    assert (await alice.upload_refusal(os.urandom(10))).reason == "QUOTA_EXCEEDED"


async def test_number_of_unfinished_uploads_is_bounded(alice: RawMedia) -> None:
    begun = [await alice.create(os.urandom(10)) for _ in range(QUOTA_UPLOADS)]
    request = media_pb2.CreateUploadRequest(request_id=str(uuid.uuid4()), file=describe(b"12345"))
    assert (await alice.device.refusal(request)).reason == "QUOTA_EXCEEDED"
    await alice.device.call(media_pb2.AbortUploadRequest(media_id=begun[0].upload.media_id))
    request.request_id = str(uuid.uuid4())
    assert (await alice.device.call(request)).upload.part_count == 1


async def test_retention_frees_what_only_its_messages_referred_to(world: World, alice: RawMedia) -> None:
    bob = await world.user("bob")
    await alice.device.connect()
    media = await alice.upload(os.urandom(1000))
    await alice.device.sent(await alice.device.direct(bob), reference(media.media_id))
    bucket = Bucket(world.stack)

    async def is_removed() -> bool:
        return not await bucket.objects(media.media_id)

    await eventually(is_removed, timeout=PATIENCE)
    assert await is_gone(alice, media.media_id)
