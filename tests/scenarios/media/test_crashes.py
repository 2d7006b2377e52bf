"""Media servers are killed and frozen at named moments: no file is lost, and no object is left behind.

A gate between a media server and the S3 store stops at one request. The server is killed or frozen there, and another
one goes on.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import grpc
import pytest

from devstack.servers.service import ServiceReplica
from devstack.services import CHAT, MEDIA, with_replicas
from devstack.stack import Stack
from media_service.model.media import PART_BYTES
from media_service.storage.media_store import MongoMediaStore
from parley.media.v1 import media_pb2
from servicekit.mongo import connect
from tests.eventually import eventually
from tests.faults.files.contents import Contents, photo
from tests.proxy.s3_gate import S3Gate, Stop
from tests.raw.bucket import Bucket
from tests.raw.device import RawDevice
from tests.raw.media import RawMedia
from tests.raw.refusal import of_error
from tests.raw.world import World
from tests.scenarios.conftest import ENVIRONMENT
from tests.scenarios.media.test_access import reference

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]

# An upload is completed by another server after its lease, and must not expire before.
HURRIED: Final = {
    **ENVIRONMENT,
    "PARLEY_MEDIA_UNREFERENCED_SECONDS": "20",
    "PARLEY_MEDIA_CLAIM_SECONDS": "5",
    "PARLEY_MEDIA_LEASE_SECONDS": "1.5",
    "PARLEY_MEDIA_TOMBSTONE_SECONDS": "6",
    "PARLEY_MEDIA_RECHECK_SECONDS": "1",
    "PARLEY_MEDIA_COLLECTION_PAUSE_SECONDS": "0.2",
    "PARLEY_MEDIA_COLLECTION_TIMEOUT_SECONDS": "2",
}
REACHED_S: Final = 30.0
PATIENCE: Final = 60.0

Call = Callable[[], Awaitable[Any]]


@dataclass
class Gated:
    """A system with two media servers, each behind a gate of its own."""

    stack: Stack
    gates: list[S3Gate]

    @property
    def servers(self) -> list[ServiceReplica]:
        """Return the media servers."""
        return self.stack.replicas("media")


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    services = with_replicas(with_replicas((CHAT, MEDIA), "chat", 1), "media", 2)
    with ExitStack() as open_:
        gates = [open_.enter_context(S3Gate()) for _ in range(2)]
        environment_of = {f"media-{number}": {"PARLEY_S3_URL": gate.url} for number, gate in enumerate(gates, start=1)}
        folder = tmp_path_factory.mktemp("gated")
        stack = Stack(folder, services=services, environment=HURRIED, environment_of=environment_of)
        for gate in gates:
            gate.target = stack.s3.endpoint
        yield Gated(open_.enter_context(stack), gates)


@dataclass
class Play:
    """Alice, who uploads at the first media server, and bob, in a group."""

    gated: Gated
    world: World
    bucket: Bucket
    alice: RawDevice
    bob: RawDevice
    group: str

    def at(self, number: int, device: RawDevice) -> RawMedia:
        """Return the files of a device at a media server, 0 or 1."""
        return RawMedia(device, self.world.channel(self.gated.servers[number].address))

    async def kill_first(self, pattern: str, call: Call, *, answered: bool = False) -> None:
        """Kill the first media server when its call reaches a request of the store, or the answer to it."""
        with self.gated.gates[0].stop_at(pattern, answered=answered) as stop:
            calling = asyncio.ensure_future(call())
            await reached(stop)
            self.gated.servers[0].kill()
        with pytest.raises(grpc.aio.AioRpcError):
            await calling

    async def is_kept(self, media: media_pb2.Media, contents: Contents, *names: str) -> None:
        """Send the file, check what bob gets, and wait until exactly the objects of these names are there."""
        await self.alice.sent(self.group, reference(media.media_id))
        assert (await self.at(1, self.bob).download(media.media_id)).data == contents.stored
        await self.has_objects(media.media_id, *names)
        assert (await self.at(1, self.bob).download(media.media_id)).data == contents.stored

    async def has_objects(self, media_id: str, *names: str) -> None:
        """Wait until the file has exactly the objects of these names, and no upload in parts."""
        wanted = {f"{media_id}/{name}" for name in names}

        async def has_exactly() -> bool:
            assert await self.bucket.objects(media_id) == wanted
            assert not await self.bucket.uploads(media_id)
            return True

        await eventually(has_exactly, PATIENCE)

    async def is_removed(self, media_id: str) -> None:
        """Wait until neither objects nor a record of the file are there."""
        await self.has_objects(media_id)
        database = await connect(self.gated.stack.mongo_uri, "parley")

        async def has_no_record() -> bool:
            return await MongoMediaStore(database).find(media_id) is None

        try:
            await eventually(has_no_record, PATIENCE)
        finally:
            await database.client.close()
        await self.has_objects(media_id)


@pytest.fixture
async def play(gated: Gated) -> AsyncIterator[Play]:
    async with World(gated.stack) as world:
        alice, bob = await world.users("alice", "bob")
        for device in (alice, bob):
            await device.connect()
        try:
            yield Play(gated, world, Bucket(gated.stack), alice, bob, await alice.group("Files", [bob]))
        finally:
            for server in gated.servers:
                server.resume()
                if not server.running:
                    server.start()
                await asyncio.to_thread(server.wait_healthy)


async def reached(*stops: Stop) -> None:
    """Wait until the server is at one of the stops."""
    await eventually(lambda: any(stop.reached.is_set() for stop in stops), REACHED_S)


async def repeat(call: Call) -> Any:
    """Return the response; repeat the call as long as another server has the lease of the file."""
    answers: list[Any] = []

    async def is_answered() -> bool:
        try:
            answers.append(await call())
        except grpc.aio.AioRpcError as error:
            if of_error(error).reason != "MEDIA_NOT_READY":
                raise
        return bool(answers)

    await eventually(is_answered, PATIENCE)
    return answers[0]


@pytest.mark.parametrize(
    ("pattern", "answered"),
    [
        ("PUT .*/sent", True),
        ("PUT .*/original", True),
        ("PUT .*/thumbnail", True),
        ("DELETE .*/sent", False),
        ("DELETE .*/sent", True),
    ],
    ids=["sent", "metadata removed", "thumbnail stored", "facts recorded", "sent bytes deleted"],
)
async def test_streamed_photo_is_completed_after_a_kill(play: Play, pattern: str, answered: bool) -> None:
    contents, request_id = photo(Random(1)), str(uuid.uuid4())

    def upload(number: int) -> Call:
        media = play.at(number, play.alice)
        return lambda: media.upload(contents.sent, request_id=request_id, content_type="image/jpeg")

    await play.kill_first(pattern, upload(0), answered=answered)
    media = await repeat(upload(1))
    assert media.sha256 == contents.stored_sha256
    await play.is_kept(media, contents, "original", "thumbnail")


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
async def test_parts_are_joined_after_a_kill(play: Play, answered: bool) -> None:
    data = b"\0plain\0" + os.urandom(PART_BYTES + 1000)
    contents = Contents(data, data, "application/pdf")
    media = play.at(1, play.alice)
    created = await media.create(data, sha256=contents.sha256)
    for part in created.parts:
        (await media.put_part(data, part)).raise_for_status()
    request = media_pb2.CompleteUploadRequest(media_id=created.upload.media_id)
    first, second = (server.address for server in play.gated.servers)
    await play.kill_first(r"POST .*uploadId=", lambda: play.alice.call(request, at=first), answered=answered)
    completed = (await repeat(lambda: play.alice.call(request, at=second))).media
    assert completed.sha256 == contents.sha256
    await play.is_kept(completed, contents, "sent")


async def test_deletion_of_objects_goes_on_after_a_kill(play: Play) -> None:
    contents = photo(Random(1))
    media = await play.at(0, play.alice).upload(contents.sent, content_type="image/jpeg")
    pattern = f"DELETE .*{media.media_id}/original"
    with ExitStack() as open_:
        stops = [open_.enter_context(gate.stop_at(pattern)) for gate in play.gated.gates]
        await reached(*stops)
        for stop, server in zip(stops, play.gated.servers, strict=True):
            if stop.reached.is_set():
                server.kill()
    assert f"{media.media_id}/original" in await play.bucket.objects(media.media_id)
    await play.is_removed(media.media_id)


async def test_photo_that_a_frozen_server_stores_late_is_deleted(play: Play) -> None:
    contents, request_id = photo(Random(1)), str(uuid.uuid4())
    first, second = play.at(0, play.alice), play.at(1, play.alice)
    with play.gated.gates[0].stop_at("PUT .*/sent") as stop:
        calling = asyncio.ensure_future(first.upload(contents.sent, request_id=request_id, content_type="image/jpeg"))
        await reached(stop)
        play.gated.servers[0].freeze()
        calling.cancel()
        media = await repeat(lambda: second.upload(contents.sent, request_id=request_id, content_type="image/jpeg"))
        await play.has_objects(media.media_id, "original", "thumbnail")
        await write_late(stop)
    play.gated.servers[0].resume()
    await play.is_kept(media, contents, "original", "thumbnail")


async def test_object_that_a_frozen_server_stores_after_the_removal_is_deleted(play: Play) -> None:
    contents = photo(Random(1))
    with play.gated.gates[0].stop_at("PUT .*/sent") as stop:
        calling = asyncio.ensure_future(play.at(0, play.alice).upload(contents.sent, content_type="image/jpeg"))
        await reached(stop)
        play.gated.servers[0].freeze()
        calling.cancel()
        media_id = stop.target.split("/")[2]

        async def is_gone() -> bool:
            with suppress(grpc.aio.AioRpcError):
                await play.alice.call(media_pb2.GetMediaRequest(media_id=media_id), at=play.gated.servers[1].address)
                return False
            return True

        await eventually(is_gone, PATIENCE)
        await write_late(stop)
    play.gated.servers[0].resume()
    await play.is_removed(media_id)


async def test_download_of_a_file_that_is_just_removed_is_not_found(play: Play) -> None:
    media = await play.at(0, play.alice).upload(b"\0plain\0")
    with play.gated.gates[0].stop_at("GET .*/sent") as stop:
        refused = asyncio.ensure_future(play.at(0, play.alice).download_refusal(media.media_id))
        await reached(stop)
        await play.bucket.delete(f"{media.media_id}/sent")
        stop.release()
        assert (await refused).code_and_reason == ("NOT_FOUND", "MEDIA_NOT_FOUND")


async def write_late(stop: Stop) -> None:
    """Let the store have the sent bytes that a frozen server has sent, and wait until it has stored them."""
    stop.release()
    # Not a listing: the collector may delete the object the moment it is there.
    await eventually(lambda: stop.status, PATIENCE)
    assert stop.status == 200
