"""The collector: what nothing refers to goes, with its bytes, and what is in use or claimed stays."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import grpc
import pytest

from devstack.services import CHAT, MEDIA
from devstack.stack import Stack
from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2
from parley.internal.v1 import media_pb2 as catalog_pb2
from servicekit.status import from_proto
from tests.eventually import eventually
from tests.raw.bucket import Bucket
from tests.raw.device import RawDevice, new_id
from tests.raw.media import RawMedia
from tests.raw.media_catalog import Catalog
from tests.raw.refusal import of_error
from tests.raw.world import PASSWORD, World
from tests.scenarios.conftest import ENVIRONMENT
from tests.scenarios.media.conftest import Files
from tests.scenarios.media.test_access import PNG, is_allowed, reference

pytestmark = pytest.mark.scenario

PART = 8 * 1024 * 1024
# A file is removed this long after its upload if nothing refers to it, and checked again this often if something does.
UNREFERENCED_S = 4
# A claim must last longer than a send may take.
CLAIM_S = 12
HURRIED = {
    **ENVIRONMENT,
    "PARLEY_MEDIA_UNREFERENCED_SECONDS": str(UNREFERENCED_S),
    "PARLEY_MEDIA_RECHECK_SECONDS": "1",
    "PARLEY_MEDIA_COLLECTION_PAUSE_SECONDS": "0.2",
    "PARLEY_MEDIA_CLAIM_SECONDS": str(CLAIM_S),
}
# Long enough for a removal, on a slow machine.
PATIENCE = 60


@pytest.fixture(scope="module")
def hurried_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system in which files are removed after seconds."""
    with Stack(
        tmp_path_factory.mktemp("hurried"), chat_servers=2, services=(CHAT, MEDIA), environment=HURRIED
    ) as stack:
        yield stack


@dataclass
class Play:
    """Alice and bob in a group."""

    world: World
    bucket: Bucket
    catalog: Catalog
    alice: RawDevice
    bob: RawDevice
    group: str
    files: Files

    @property
    def media(self) -> RawMedia:
        """Return the files of alice."""
        return self.files.of(self.alice)

    async def is_gone(self, media_id: str) -> bool:
        """Return whether a file does not exist any more for its uploader."""
        try:
            await self.media.get(media_id)
        except grpc.aio.AioRpcError as error:
            return of_error(error).reason == "MEDIA_NOT_FOUND"
        return False

    async def wait_removed(self, media_id: str) -> None:
        """Wait until a file is invisible, and its objects and parts are gone."""

        async def is_removed() -> bool:
            if not await self.is_gone(media_id):
                return False
            return not await self.bucket.objects(media_id) and not await self.bucket.uploads(media_id)

        await eventually(is_removed, timeout=PATIENCE)

    async def wait_outlived(self, kept: str) -> None:
        """Wait until a file that is claimed now is removed; the file `kept`, which is older, must then be there."""
        younger = await self.media.upload(os.urandom(100))
        await self.catalog.claim(self.alice, younger.media_id)
        await self.wait_removed(younger.media_id)
        assert (await self.media.download(kept)).data


@pytest.fixture
async def play(hurried_stack: Stack) -> AsyncIterator[Play]:
    async with World(hurried_stack) as world:
        files = Files(world)
        alice, bob = await world.users("alice", "bob")
        for device in (alice, bob):
            await device.connect()
        group = await alice.group("Files", [bob])
        yield Play(world, Bucket(hurried_stack), Catalog(world), alice, bob, group, files)
        await files.close()


async def test_file_to_which_nothing_refers_is_removed(play: Play) -> None:
    media = await play.media.upload(PNG)
    assert await play.bucket.objects(media.media_id)
    assert media.expire_time.ToMilliseconds() == media.create_time.ToMilliseconds() + UNREFERENCED_S * 1000
    await play.wait_removed(media.media_id)


async def test_unfinished_upload_is_aborted(play: Play) -> None:
    data = os.urandom(PART + 1)
    created = await play.media.create(data)
    (await play.media.put_part(data, created.parts[0])).raise_for_status()
    assert await play.bucket.uploads(created.upload.media_id)
    await play.wait_removed(created.upload.media_id)
    assert (await play.media.put_part(data, created.parts[1])).status_code == 404


async def test_file_of_a_message_stays_until_the_message_is_deleted(play: Play) -> None:
    media = await play.media.upload(os.urandom(1000))
    seq = await play.alice.sent(play.group, reference(media.media_id))
    assert not (await play.media.get(media.media_id)).HasField("expire_time")
    await play.wait_outlived(media.media_id)
    await play.alice.call(
        chat_pb2.DeleteMessageRequest(request_id=new_id(), conversation_id=play.group, target_seq=seq, for_all=True)
    )
    await play.wait_removed(media.media_id)


async def test_file_of_two_messages_stays_until_both_are_deleted(play: Play) -> None:
    media = await play.media.upload(os.urandom(1000))
    first = await play.alice.sent(play.group, reference(media.media_id))
    direct = await play.bob.direct(play.alice)
    second = await play.bob.sent(direct, reference(media.media_id))
    await play.alice.call(
        chat_pb2.DeleteMessageRequest(request_id=new_id(), conversation_id=play.group, target_seq=first, for_all=True)
    )
    await play.wait_outlived(media.media_id)
    await play.bob.call(
        chat_pb2.DeleteMessageRequest(request_id=new_id(), conversation_id=direct, target_seq=second, for_all=True)
    )
    await play.wait_removed(media.media_id)


async def test_pictures_of_profile_and_group_stay_until_they_are_replaced(play: Play) -> None:
    profile, shown = await play.media.upload(PNG), await play.media.upload(PNG)
    await play.alice.call(account_pb2.UpdateProfileRequest(picture_media_id=profile.media_id))
    picture = conversation_pb2.UpdateConversationRequest(
        request_id=new_id(), conversation_id=play.group, picture_media_id=shown.media_id
    )
    await play.alice.call(picture)
    await play.wait_outlived(profile.media_id)
    await play.wait_outlived(shown.media_id)
    await play.alice.call(account_pb2.UpdateProfileRequest(picture_media_id=""))
    # Both are one picture: its bytes stay for the group.
    await eventually(lambda: play.is_gone(profile.media_id), timeout=PATIENCE)
    assert (await play.media.download(shown.media_id)).data == PNG


async def test_bytes_of_identical_files_stay_for_the_last_of_them(play: Play) -> None:
    data = os.urandom(1000)
    first, second = await play.media.upload(data), await play.media.upload(data)
    seq = await play.alice.sent(play.group, reference(second.media_id))
    await eventually(lambda: play.is_gone(first.media_id), timeout=PATIENCE)
    await play.wait_outlived(second.media_id)
    assert (await play.media.download(second.media_id)).data == data
    await play.alice.call(
        chat_pb2.DeleteMessageRequest(request_id=new_id(), conversation_id=play.group, target_seq=seq, for_all=True)
    )
    await play.wait_removed(second.media_id)
    await play.wait_removed(first.media_id)


async def test_claimed_file_outlives_its_time(play: Play) -> None:
    media = await play.media.upload(os.urandom(1000))
    [claimed] = await play.catalog.claim(play.alice, media.media_id)
    assert claimed.media.media_id == media.media_id
    younger = await play.media.upload(os.urandom(1000))
    await play.wait_removed(younger.media_id)
    assert (await play.media.download(media.media_id)).data


async def test_claim_of_a_removed_or_unfinished_file_is_refused(play: Play) -> None:
    media = await play.media.upload(os.urandom(1000))
    created = await play.media.create(b"12345")
    [unfinished] = await play.catalog.claim(play.alice, created.upload.media_id)
    assert from_proto(unfinished.refused).reason == "MEDIA_NOT_READY"
    await play.wait_removed(media.media_id)
    results = await play.catalog.claim(play.alice, media.media_id, uuid.uuid4().hex)
    assert [from_proto(each.refused).reason for each in results] == ["MEDIA_NOT_FOUND"] * 2


async def test_claims_and_removals_at_once_never_lose_a_file(play: Play) -> None:
    """Files become due while they are sent: each that a message refers to is there, each other one is gone."""

    files = [await play.media.upload(os.urandom(100)) for _ in range(20)]

    async def send_late(number: int) -> tuple[str, bool]:
        media = files[number]
        # Some are sent just before they are due, some at that moment, some after.
        due = media.expire_time.ToMilliseconds() / 1000
        await asyncio.sleep(due - time.time() - 0.3 + number * 0.03)
        send = chat_pb2.SendMessageRequest(
            conversation_id=play.group, client_message_id=new_id(), content=reference(media.media_id)
        )
        return media.media_id, await is_allowed(play.alice.call(send))

    sent = await asyncio.gather(*map(send_late, range(20)))
    for media_id, referenced in sent:
        if not referenced:
            await play.wait_removed(media_id)
    for media_id, referenced in sent:
        if referenced:
            assert len((await play.media.download(media_id)).data) == 100


async def test_erasure_of_an_account_frees_its_profile_picture(play: Play) -> None:
    carol = await play.world.register("carol")
    picture = await play.files.of(carol).upload(PNG)
    await carol.call(account_pb2.UpdateProfileRequest(picture_media_id=picture.media_id))
    await play.wait_outlived(picture.media_id)
    await carol.call(account_pb2.DeleteAccountRequest(password=PASSWORD))

    async def is_removed() -> bool:
        return not await play.bucket.objects(picture.media_id)

    await eventually(is_removed, timeout=PATIENCE)


async def test_list_of_owned_files_has_pages(play: Play) -> None:
    ids = sorted([(await play.media.upload(os.urandom(10))).media_id for _ in range(3)])
    found, token = [], ""
    while True:
        page: catalog_pb2.ListOwnedMediaResponse = await play.catalog.call(
            catalog_pb2.ListOwnedMediaRequest(user_id=play.alice.user_id, page_size=2, page_token=token)
        )
        found += [each.media_id for each in page.files]
        token = page.next_page_token
        if not token:
            break
    assert found == ids
