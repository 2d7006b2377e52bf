"""A user who uploads files, sends, forwards and deletes them, downloads those of others, and gives up some."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, Final, TypeVar

import grpc
import httpx2

from parley.chat.v1 import chat_pb2, entry_pb2
from parley.media.v1 import media_pb2
from tests.faults.files.contents import Contents, large_file, random_contents
from tests.faults.files.journal import FileJournal, Reference, StoredFile
from tests.faults.files.times import UNREFERENCED_S
from tests.raw.device import RawDevice, new_id
from tests.raw.media import RawMedia, describe, frames_of
from tests.raw.refusal import Refusal, of_error

# A client gives up a call after this time and repeats it; shorter than servers are frozen.
CALL_S: Final = 4.0
AGAIN_S: Final = 0.3
MOST_AGAIN_S: Final = 1.0
# The largest file of a streamed upload.
STREAMED_BYTES: Final = 1_000_000
LATER: Final = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN")
# Attempts to put the parts of an upload: the store is away for less.
ATTEMPTS: Final = 60

Answer = TypeVar("Answer")


class Uploader:
    """A device of a user who is a member of all `conversations`, as are the other uploaders."""

    def __init__(
        self, name: str, media: RawMedia, conversations: Sequence[str], journal: FileJournal, random: Random
    ) -> None:
        self.name = name
        self.media = media
        self.errors: list[str] = []
        self._conversations = conversations
        self._journal = journal
        self._random = random
        self._sent: list[Contents] = []
        self._actions: dict[Callable[[], Awaitable[object]], float] = {
            self.upload_and_send: 6.0,
            self.upload_twice: 1.0,
            self.upload_and_leave: 1.0,
            self.give_up_stream: 1.0,
            self.give_up_parts: 1.0,
            self.abort: 0.5,
            self.forward: 2.0,
            self.delete: 2.5,
            self.download: 3.0,
        }

    @property
    def device(self) -> RawDevice:
        """Return the device."""
        return self.media.device

    async def work(self, going_on: Callable[[], bool], pause: float) -> None:
        """Do things at random while `going_on` returns true, with about `pause` seconds between them."""
        while going_on():
            await asyncio.sleep(self._random.expovariate(1 / pause))
            [action] = self._random.choices(list(self._actions), list(self._actions.values()))
            await action()

    # What it does.

    async def upload_and_send(self) -> None:
        """Upload a file, and send it."""
        if (file := await self._upload(random_contents(self._random))) is not None:
            await self._send(file)

    async def upload_twice(self) -> None:
        """Upload bytes that were uploaded before, and send them: the copies share their objects."""
        if self._sent:
            file = await self._upload(self._random.choice(self._sent))
            if file is not None:
                await self._send(file)

    async def upload_and_leave(self) -> None:
        """Upload a file, and never refer to it."""
        await self._upload(random_contents(self._random))

    async def give_up_stream(self) -> None:
        """End an upload after some of its frames."""
        frames = frames_of(random_contents(self._random).sent)

        async def some_frames() -> Any:
            for frame in frames[: self._random.randint(1, len(frames))]:
                yield frame.SerializeToString()
            raise ConnectionAbortedError

        self._journal.abandoned += 1
        await _attempt(lambda: self.media.stream(some_frames()))

    async def give_up_parts(self) -> None:
        """Begin an upload of two parts, and put one of them at most."""
        data = large_file(self._random).sent
        self._journal.abandoned += 1
        created = await _attempt(lambda: self.media.create(data))
        if isinstance(created, media_pb2.CreateUploadResponse) and self._random.random() < 0.5:
            # The second one is small.
            await self._put(data, created.parts[1])

    async def abort(self) -> None:
        """Begin an upload in parts, and abort it."""
        data = random_contents(self._random).sent
        created = await self._ask(lambda: self.media.create(data))
        if isinstance(created, media_pb2.CreateUploadResponse):
            await self._put(data, created.parts[0])
            await self._ask(lambda: self.device.call(media_pb2.AbortUploadRequest(media_id=created.upload.media_id)))

    async def forward(self) -> None:
        """Send a file of any uploader again."""
        if standing := self._journal.standing():
            await self._send(self._random.choice(standing))

    async def delete(self) -> None:
        """Delete a message with an own file for all."""
        own = [each for file in self._own_files() for each in file.references if not each.deleting]
        if not own:
            return
        reference = self._random.choice(own)
        reference.deleting = True
        request = chat_pb2.DeleteMessageRequest(
            request_id=new_id(),
            conversation_id=reference.conversation,
            target_seq=reference.seq,
            for_all=True,
        )
        answer = await self._ask(lambda: self.device.call(request))
        if isinstance(answer, Refusal):
            self.errors.append(f"deletion of {reference}: {answer}")

    async def download(self) -> None:
        """Download a file of any uploader, and compare it with what was sent."""
        if not (standing := self._journal.standing()):
            return
        file = self._random.choice(standing)
        answer = await _attempt(lambda: self.media.download(file.media_id))
        if answer is None:
            return
        if isinstance(answer, Refusal):
            if file.standing:
                self._journal.violations.append(f"{file}: {self.name} may not download it: {answer}")
            return
        self._journal.downloads += 1
        if hashlib.sha256(answer.data).digest() != file.sha256:
            self._journal.violations.append(f"{file}: {self.name} downloaded {len(answer.data)} other bytes")

    # How it does it.

    def _own_files(self) -> list[StoredFile]:
        return [file for file in self._journal.files.values() if file.uploader == self.name]

    async def _upload(self, contents: Contents) -> StoredFile | None:
        """Upload until it is acknowledged; None if the service removed the upload, which took too long."""
        streamed = len(contents.sent) <= STREAMED_BYTES and self._random.random() < 0.7
        began = time.time()
        announced = {"content_type": contents.content_type}
        if self._random.random() < 0.7:
            announced["sha256"] = contents.sha256  # type: ignore[assignment]
        upload = self._upload_stream if streamed else self._upload_parts
        answer = await upload(contents.sent, announced)
        if isinstance(answer, Refusal):
            self._refused(answer, began, contents)
            return None
        self._sent = [*self._sent[-4:], contents]
        return self._journal.acknowledge(self.name, answer, contents)

    def _refused(self, refusal: Refusal, began: float, contents: Contents) -> None:
        """Record a refusal: only an upload that was not completed in time may be removed."""
        if refusal.reason == "MEDIA_NOT_FOUND" and time.time() - began >= UNREFERENCED_S:
            self._journal.expired += 1
        else:
            self.errors.append(f"upload of {len(contents.sent)} bytes after {time.time() - began:.1f} s: {refusal}")

    async def _upload_stream(self, data: bytes, announced: dict[str, Any]) -> Any:
        request_id = str(uuid.uuid4())
        return await self._ask(lambda: self.media.upload(data, request_id=request_id, **announced))

    async def _upload_parts(self, data: bytes, announced: dict[str, Any]) -> Any:
        create = media_pb2.CreateUploadRequest(request_id=str(uuid.uuid4()), file=describe(data, **announced))
        created = await self._ask(lambda: self.device.call(create))
        if isinstance(created, Refusal):
            return created
        media_id, parts, refusal = created.upload.media_id, list(created.parts), None
        for _ in range(ATTEMPTS):
            if all([await self._put(data, part) for part in parts if not part.stored]):
                answer = await self._ask(lambda: self.media.complete(media_id))
                if not isinstance(answer, Refusal) or answer.reason != "FIELD_INVALID":
                    return answer
                refusal = answer
            await asyncio.sleep(AGAIN_S)
            listed = await self._ask(lambda: self.device.call(media_pb2.ListUploadPartsRequest(media_id=media_id)))
            if isinstance(listed, Refusal):
                return listed
            parts = list(listed.parts)
        return refusal or Refusal("UNAVAILABLE", message="the parts could not be stored")

    async def _put(self, data: bytes, part: media_pb2.Part) -> bool:
        """PUT a part, and return whether the store took it."""
        try:
            async with asyncio.timeout(CALL_S):
                return (await self.media.put_part(data, part)).is_success
        except (httpx2.HTTPError, TimeoutError):
            return False

    async def _send(self, file: StoredFile) -> None:
        """Send a message with the file, and record its place."""
        conversation = self._random.choice(self._conversations)
        content = entry_pb2.Content(media=entry_pb2.MediaReference(media_id=file.media_id))
        request = chat_pb2.SendMessageRequest(conversation_id=conversation, client_message_id=new_id(), content=content)
        answer = await self._ask(lambda: self.device.call(request))
        if not isinstance(answer, Refusal):
            file.references.append(Reference(conversation, answer.appended.seq, file.media_id))
        elif answer.reason != "MEDIA_NOT_FOUND":
            self.errors.append(f"send of {file}: {answer}")
        elif file.standing or (file.uploader == self.name and time.time() < file.expires_at):
            self._journal.violations.append(f"{file}: {self.name} may not send it: {answer}")

    async def _ask(self, ask: Callable[[], Awaitable[Answer]]) -> Answer | Refusal:
        """Return the response or the refusal for good; repeat the same request while it is refused temporarily."""
        while True:
            answer = await _attempt(ask)
            if answer is not None:
                return answer
            await asyncio.sleep(self._random.uniform(AGAIN_S, MOST_AGAIN_S))


async def _attempt(ask: Callable[[], Awaitable[Answer]]) -> Answer | Refusal | None:
    """Return the response, or the refusal for good; None if the request should be repeated."""
    try:
        async with asyncio.timeout(CALL_S):
            return await ask()
    except grpc.aio.AioRpcError as error:
        refusal = of_error(error)
        # The door resets the stream of a download whose server has died.
        broken = refusal.code == "INTERNAL" and not refusal.reason
        return None if broken or refusal.code in LATER else refusal
    except (TimeoutError, ConnectionAbortedError):
        return None
