"""Access to a file: its uploader has it, and those who may see a message or picture that refers to it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass

import grpc
import pytest

from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2, entry_pb2
from parley.media.v1 import media_pb2
from tests.eventually import eventually
from tests.raw.browser import Browser
from tests.raw.device import RawDevice, new_id
from tests.raw.refusal import of_error
from tests.raw.world import World
from tests.scenarios.media.conftest import Files
from tests.scenarios.test_directory import add, remove

pytestmark = pytest.mark.scenario

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)
NOT_FOUND = ("NOT_FOUND", "MEDIA_NOT_FOUND")


@dataclass
class Play:
    """Alice has uploaded a file and sent it to her group with bob; mallory is in no conversation with them."""

    world: World
    files: Files
    alice: RawDevice
    bob: RawDevice
    mallory: RawDevice
    group: str
    media: media_pb2.Media
    seq: int

    async def may_see(self, user: RawDevice, media_id: str = "") -> bool:
        """Return whether a user can download a file, by default that of alice; all ways must agree."""
        media_id = media_id or self.media.media_id
        caller = self.files.of(user)
        attempts = (caller.get, caller.address, caller.download)
        allowed = {await is_allowed(attempt(media_id)) for attempt in attempts}
        assert len(allowed) == 1, allowed
        return allowed.pop()


async def is_allowed(attempt: Awaitable[object]) -> bool:
    """Return whether an attempt to read a file succeeds; otherwise the file must not be found."""
    try:
        await attempt
    except grpc.aio.AioRpcError as error:
        refusal = of_error(error)
        if refusal.code_and_reason != NOT_FOUND:
            raise
        return False
    return True


@pytest.fixture
async def play(world: World, files: Files) -> Play:
    alice, bob, mallory = await world.users("alice", "bob", "mallory")
    for device in (alice, bob, mallory):
        await device.connect()
    media = await files.of(alice).upload(os.urandom(1000), file_name="notes.bin")
    group = await alice.group("Files", [bob])
    return Play(world, files, alice, bob, mallory, group, media, await alice.sent(group, reference(media.media_id)))


def reference(media_id: str, **fields: object) -> entry_pb2.Content:
    return entry_pb2.Content(media=entry_pb2.MediaReference(media_id=media_id, **fields))  # type: ignore[arg-type]


async def test_members_may_download_and_others_may_not(play: Play) -> None:
    assert await play.may_see(play.alice)
    assert await play.may_see(play.bob)
    assert not await play.may_see(play.mallory)
    assert not await play.may_see(play.alice, uuid.uuid4().hex)


async def test_message_has_the_facts_of_its_file(play: Play) -> None:
    def facts() -> entry_pb2.MediaReference:
        return play.bob.logs[play.group][play.seq].message_appended.content.media

    await eventually(lambda: play.seq in play.bob.logs.get(play.group, {}))
    assert facts().file_name == "notes.bin"
    assert (facts().kind, facts().size_bytes) == (media_pb2.MEDIA_KIND_FILE, 1000)
    assert facts().content_type == "application/octet-stream"
    fetched = await play.bob.fetch(play.group)
    assert fetched.entries[play.seq - 1].message_appended.content.media == facts()


async def test_sender_cannot_forge_the_facts(play: Play) -> None:
    forged = reference(play.media.media_id, file_name="evil.exe", size_bytes=1, caption="look")
    seq = await play.alice.sent(play.group, forged)
    await eventually(lambda: seq in play.bob.logs.get(play.group, {}))
    media = play.bob.logs[play.group][seq].message_appended.content.media
    assert (media.file_name, media.size_bytes, media.caption) == ("notes.bin", 1000, "look")


async def test_retry_with_and_without_facts_is_the_same_message(play: Play) -> None:
    message_id = new_id()
    first = await play.alice.sent(play.group, reference(play.media.media_id), client_message_id=message_id)
    again = reference(play.media.media_id, file_name="other", width=7)
    assert await play.alice.sent(play.group, again, client_message_id=message_id) == first


async def test_foreign_file_cannot_be_sent_or_shown(play: Play) -> None:
    own = await play.mallory.group("Mine", [play.bob])
    content, media_id = reference(play.media.media_id), play.media.media_id
    assert (await play.mallory.refused(own, content)).code_and_reason == NOT_FOUND
    seq = await play.mallory.sent(own, "text")
    for request in (
        chat_pb2.SendMessageRequest(conversation_id=own, client_message_id=new_id(), content=content),
        chat_pb2.EditMessageRequest(request_id=new_id(), conversation_id=own, target_seq=seq, content=content),
        account_pb2.UpdateProfileRequest(picture_media_id=media_id),
        conversation_pb2.UpdateConversationRequest(request_id=new_id(), conversation_id=own, picture_media_id=media_id),
    ):
        foreign = await play.mallory.refusal(request)
        assert foreign.code_and_reason == NOT_FOUND, request
    head = (await play.mallory.fetch(own)).seqs
    assert head == list(range(1, seq + 1))
    assert not await play.may_see(play.mallory)


async def test_member_may_forward_and_the_next_reader_may_see(play: Play) -> None:
    carol = await play.world.user("carol")
    direct = await play.bob.direct(carol)
    assert not await play.may_see(carol)
    await play.bob.sent(direct, reference(play.media.media_id))
    assert await play.may_see(carol)


async def test_file_of_a_conversation_that_was_left_before_it_is_not_found(play: Play) -> None:
    late = await play.files.of(play.alice).upload(os.urandom(1000))
    await play.alice.call(remove(play.group, play.bob))
    seq = await play.alice.sent(play.group, reference(late.media_id))
    assert not await play.may_see(play.bob, late.media_id)
    assert await play.may_see(play.bob)
    direct = await play.bob.direct(play.mallory)
    assert (await play.bob.refused(direct, reference(late.media_id))).code_and_reason == NOT_FOUND
    await play.alice.call(add(play.group, play.bob))
    assert seq > play.seq
    assert not await play.may_see(play.bob, late.media_id)


async def test_deletion_for_all_ends_the_access(play: Play) -> None:
    assert await play.may_see(play.bob)
    await play.alice.call(
        chat_pb2.DeleteMessageRequest(
            request_id=new_id(), conversation_id=play.group, target_seq=play.seq, for_all=True
        )
    )

    async def is_refused() -> bool:
        return not await is_allowed(play.files.of(play.bob).get(play.media.media_id))

    # A permission holds for 5 s.
    await eventually(is_refused, timeout=20)
    assert not await play.may_see(play.bob)
    assert await play.may_see(play.alice)


async def test_profile_picture_is_seen_by_all_and_a_group_picture_by_members(play: Play) -> None:
    picture = await play.files.of(play.alice).upload(PNG)
    assert picture.kind == media_pb2.MEDIA_KIND_IMAGE
    await play.alice.call(account_pb2.UpdateProfileRequest(picture_media_id=picture.media_id))
    assert await play.may_see(play.mallory, picture.media_id)
    shown = await play.files.of(play.alice).upload(PNG + b"")
    await play.alice.call(
        conversation_pb2.UpdateConversationRequest(
            request_id=new_id(), conversation_id=play.group, picture_media_id=shown.media_id
        )
    )
    assert await play.may_see(play.bob, shown.media_id)
    assert not await play.may_see(play.mallory, shown.media_id)


async def test_picture_must_be_a_picture(play: Play) -> None:
    request = account_pb2.UpdateProfileRequest(picture_media_id=play.media.media_id)
    refusal = await play.alice.refusal(request)
    assert (refusal.reason, refusal.fields) == ("FIELD_INVALID", ("picture_media_id",))


async def test_browser_uploads_and_downloads_at_signed_addresses(play: Play) -> None:
    browser, http = Browser(play.world.stack.door, play.alice.token), play.files.of(play.alice).http
    data, origin = os.urandom(1000), {"origin": "https://app.example"}
    description = media_pb2.FileDescription(file_name="a.bin", size_bytes=len(data))
    request = media_pb2.CreateUploadRequest(request_id=str(uuid.uuid4()), file=description)
    created = await browser.ask(request)
    [part] = created.parts
    preflight = await http.options(part.url, headers={**origin, "access-control-request-method": "PUT"})
    assert preflight.headers["access-control-allow-origin"] == "*"
    put = await http.put(part.url, content=data, headers=origin)
    assert (put.status_code, put.headers["access-control-allow-origin"]) == (200, "*")
    media = (await browser.ask(media_pb2.CompleteUploadRequest(media_id=created.upload.media_id))).media
    assert media.state == media_pb2.MEDIA_STATE_READY
    address = (await browser.ask(media_pb2.GetDownloadUrlRequest(media_id=media.media_id))).url
    got = await http.get(address, headers=origin)
    assert (got.content, got.headers["access-control-allow-origin"]) == (data, "*")


async def test_browser_has_the_same_files(play: Play) -> None:
    browser = Browser(play.world.stack.door, play.bob.token)
    found = await browser.ask(media_pb2.GetMediaRequest(media_id=play.media.media_id))
    # The expiry ended with the message that refers to the file.
    assert found.media == await play.files.of(play.alice).get(play.media.media_id)
    assert found.media.sha256 == play.media.sha256
    refused = await Browser(play.world.stack.door, play.mallory.token).refusal(
        media_pb2.GetMediaRequest(media_id=play.media.media_id)
    )
    assert refused.code_and_reason == NOT_FOUND
