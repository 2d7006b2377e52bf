"""The beginning of uploads on a real mongod: concurrent and cancelled calls leave nothing, and evade no quota."""

from __future__ import annotations

from uuid import UUID

import pytest
import uuid_utils

from media_service.errors import MediaNotFound, QuotaExceeded
from media_service.model.media import FileDescription, MediaState
from servicekit.mongo import Database
from tests.contract.media.environment import LIMITS, MediaEnvironment

pytestmark = pytest.mark.integration


@pytest.fixture
async def media(database: Database) -> MediaEnvironment:
    media = MediaEnvironment(database)
    await media.store.ensure_indexes()
    return media


async def test_repeat_of_a_cancelled_call_does_not_evade_the_quota(media: MediaEnvironment) -> None:
    owner = uuid_utils.uuid4().hex
    request_id, description = str(uuid_utils.uuid4()), FileDescription("", "", LIMITS.quota_bytes)
    await media.begin(owner, b"1")
    # The first call was cancelled after the insert.
    await media.store.insert(media.uploads._new_file(owner, UUID(request_id).bytes, description, in_parts=True))
    with pytest.raises(QuotaExceeded):
        await media.uploads.create(owner, request_id, description, in_parts=True)


async def test_upload_that_is_removed_while_it_begins_leaves_no_parts(media: MediaEnvironment) -> None:
    file = await media.begin(uuid_utils.uuid4().hex, b"1", in_parts=True)
    # A concurrent call with the same request id has exceeded the quota, and deleted the record.
    await media.store.remove(file.media_id, [MediaState.UPLOADING], 1)
    await media.store.delete(file.media_id)
    with pytest.raises(MediaNotFound):
        await media.uploads.begin_parts(file)
    assert not media.objects.uploads


async def test_upload_that_is_aborted_while_it_begins_is_not_found(media: MediaEnvironment) -> None:
    file = await media.begin(uuid_utils.uuid4().hex, b"1", in_parts=True)
    await media.store.remove(file.media_id, [MediaState.UPLOADING], 1)
    with pytest.raises(MediaNotFound):
        await media.uploads.begin_parts(file)
    assert not media.objects.uploads


async def test_refused_upload_can_be_repeated_after_its_delay(media: MediaEnvironment) -> None:
    owner = uuid_utils.uuid4().hex
    files = [await media.begin(owner, b"1", in_parts=True) for _ in range(LIMITS.quota_uploads)]
    request_id, description = str(uuid_utils.uuid4()), FileDescription("", "", 5)
    with pytest.raises(QuotaExceeded) as refusal:
        await media.uploads.create(owner, request_id, description, in_parts=True)
    await media.uploads.abort(owner, files[0].media_id)
    assert refusal.value.retry_after is not None
    media.clock.advance(refusal.value.retry_after)
    await media.collector.collect_due()
    file = await media.uploads.create(owner, request_id, description, in_parts=True)
    assert file.state is MediaState.UPLOADING
