"""A user who uploads files, sends, forwards and deletes them, downloads those of others, and gives up some."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Final

import grpc

from parley.chat.v1 import chat_pb2, entry_pb2
from parley.media.v1 import media_pb2
from tests.faults import canaries
from tests.faults.files.client import PatientClient, attempt
from tests.faults.files.contents import Contents, large_file, random_contents
from tests.faults.files.journal import FileJournal, Reference, StoredFile
from tests.faults.files.times import UNREFERENCED_S
from tests.raw.device import RawDevice, new_id
from tests.raw.media import RawMedia, frames_of
from tests.raw.refusal import Refusal

# How long an upload lasts that is given up.
GIVE_UP_S: Final = (0.05, 1.0)
# The largest file of a streamed upload.
STREAMED_BYTES: Final = 1_000_000


class Uploader:
    """A device of a user who is a member of all `conversations`, as are the other uploaders."""

    def __init__(
        self, name: str, media: RawMedia, conversations: Sequence[str], journal: FileJournal, random: Random
    ) -> None:
        self.name = name
        self.media = media
        self.client = PatientClient(media, random)
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

    async def work(self, is_running: Callable[[], bool], pause: float) -> None:
        """Do things at random while `is_running` returns true, with about `pause` seconds between them."""
        while is_running():
            await asyncio.sleep(self._random.expovariate(1 / pause))
            [action] = self._random.choices(list(self._actions), list(self._actions.values()))
            try:
                await action()
            except asyncio.CancelledError:
                # Otherwise an uploader that ends early would go unnoticed.
                self.errors.append("its call was cancelled")
                raise

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
            # Longer than the call lasts.
            await asyncio.sleep(GIVE_UP_S[1])

        self._journal.abandoned += 1
        with suppress(TimeoutError, grpc.aio.AioRpcError):
            async with asyncio.timeout(self._random.uniform(*GIVE_UP_S)):
                await self.media.stream(some_frames())

    async def give_up_parts(self) -> None:
        """Begin an upload of two parts, and put one of them at most."""
        data = large_file(self._random).sent
        self._journal.abandoned += 1
        created = await attempt(lambda: self.media.create(data))
        if isinstance(created, media_pb2.CreateUploadResponse) and self._random.random() < 0.5:
            # The second one is small.
            await self.client.put(data, created.parts[1])

    async def abort(self) -> None:
        """Begin an upload in parts, and abort it."""
        data = random_contents(self._random).sent
        created = await self.client.ask(lambda: self.media.create(data))
        if isinstance(created, media_pb2.CreateUploadResponse):
            await self.client.put(data, created.parts[0])
            await self.client.ask(
                lambda: self.device.call(media_pb2.AbortUploadRequest(media_id=created.upload.media_id))
            )

    async def forward(self) -> None:
        """Send a file of any uploader again."""
        if standing := self._journal.standing():
            await self._send(self._random.choice(standing))

    async def delete(self) -> None:
        """Delete an own message with a file for all."""
        own = [each for each in self._journal.references if each.sender == self.name and not each.deleting]
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
        answer = await self.client.ask(lambda: self.device.call(request))
        if isinstance(answer, Refusal):
            self.errors.append(f"deletion of {reference}: {answer}")

    async def download(self) -> None:
        """Download a file of any uploader, and compare it with what was sent."""
        if not (standing := self._journal.standing()):
            return
        file = self._random.choice(standing)
        answer = await attempt(lambda: self.media.download(file.media_id))
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

    async def _upload(self, contents: Contents) -> StoredFile | None:
        """Upload until it is acknowledged; None if the service removed the upload, which took too long."""
        streamed = len(contents.sent) <= STREAMED_BYTES and self._random.random() < 0.7
        began = time.time()
        announced = {"content_type": contents.content_type, "file_name": canaries.FILE_NAME}
        if self._random.random() < 0.7:
            announced["sha256"] = contents.sha256  # type: ignore[assignment]
        upload = self.client.upload_stream if streamed else self.client.upload_parts
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

    async def _send(self, file: StoredFile) -> None:
        """Send a message with the file, and record its place."""
        conversation = self._random.choice(self._conversations)
        content = entry_pb2.Content(media=entry_pb2.MediaReference(media_id=file.media_id, caption=canaries.CAPTION))
        request = chat_pb2.SendMessageRequest(conversation_id=conversation, client_message_id=new_id(), content=content)
        answer = await self.client.ask(lambda: self.device.call(request))
        if not isinstance(answer, Refusal):
            file.references.append(Reference(conversation, answer.appended.seq, file.media_id, self.name))
        elif answer.reason != "MEDIA_NOT_FOUND":
            self.errors.append(f"send of {file}: {answer}")
        elif file.standing or (file.uploader == self.name and time.time() < file.expires_at):
            self._journal.violations.append(f"{file}: {self.name} may not send it: {answer}")
