"""Scaffolding of the transfer tests: a MediaService in this process, and an HTTP server that stores parts.

They keep the contract where the client depends on it, and fail when told, which the real servers do not.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio

from parley.media.v1 import media_pb2, media_pb2_grpc
from parley_client import Client, Door, MemoryStore, Session, SessionStore
from servicekit.failure import Failure
from servicekit.status import to_grpc

PART_BYTES = 1 << 20
_REQUEST = re.compile(rb"(PUT|GET) /(\w+)/(\w+)/(\w+) HTTP")


class PartStore:
    """An HTTP server of parts and files. A URL is valid while it has the present `signature`."""

    def __init__(self) -> None:
        self.parts: dict[tuple[str, str], bytes] = {}
        self.files: dict[str, bytes] = {}
        self.signature = "first"
        self.statuses: deque[int] = deque()
        """The statuses of the next requests, which are refused."""
        self.put_parts: list[int] = []
        self.get_ranges: list[tuple[int, int]] = []
        self.cut_after_bytes: int | None = None
        """The next GET closes the connection after so many bytes."""
        self.requests_until_pause: int | None = None
        """After so many requests, the others wait for `resume`, and `paused` is set."""
        self.paused = asyncio.Event()
        self.resume = asyncio.Event()
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._handle_request(reader, writer):
                pass
        writer.close()

    async def _handle_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        found = _REQUEST.match(head)
        assert found is not None, head
        method, media_id, number, signature = (each.decode() for each in found.groups())
        headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
        assert "authorization" not in headers, "the token of the user must not reach the store"
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if self.requests_until_pause == 0:
            self.paused.set()
            await self.resume.wait()
        elif self.requests_until_pause is not None:
            self.requests_until_pause -= 1
        status = self.statuses.popleft() if self.statuses else 200
        if signature != self.signature:
            status = 403
        if status == 200 and method == "PUT":
            self.put_parts.append(int(number))
            self.parts[media_id, number] = body
        elif status == 200:
            return await self._send_range(writer, self.files[media_id], headers["range"])
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        return True

    async def _send_range(self, writer: asyncio.StreamWriter, content: bytes, asked: str) -> bool:
        first, last = map(int, asked.removeprefix("bytes=").split("-"))
        self.get_ranges.append((first, last - first + 1))
        block = content[first : last + 1]
        head = f"HTTP/1.1 206 X\r\ncontent-length: {len(block)}\r\ncontent-range: bytes {first}-{last}/{len(content)}"
        cut, self.cut_after_bytes = self.cut_after_bytes, None
        writer.write(f"{head}\r\n\r\n".encode() + block[:cut])
        await writer.drain()
        return cut is None


class MediaServicer(media_pb2_grpc.MediaServiceServicer):
    """The media service, whose files are in `store`."""

    def __init__(self, store: PartStore) -> None:
        self.store = store
        self.announced: dict[str, media_pb2.FileDescription] = {}
        self.media_ids: dict[str, str] = {}
        self.failures: deque[Failure] = deque()
        """The failures of the next calls of Upload and CompleteUpload, and of Download after its last chunk."""
        self.refusal: Failure | None = None
        """The failure of every Upload, before its file is read."""
        self.states: deque[int] = deque()
        """The states that Upload, CompleteUpload and GetMedia return next; READY if there is none."""
        self.sha256: bytes | None = None
        """The digest that GetMedia returns instead of the real one."""
        self.calls: list[str] = []

    async def CreateUpload(self, request: media_pb2.CreateUploadRequest, context: Any) -> Any:
        self.calls.append("CreateUpload")
        media_id = self.media_ids.setdefault(request.request_id, uuid.uuid4().hex)
        self.announced[media_id] = request.file
        return media_pb2.CreateUploadResponse(upload=self._upload(media_id), parts=self._parts(media_id))

    async def ListUploadParts(self, request: media_pb2.ListUploadPartsRequest, context: Any) -> Any:
        self.calls.append("ListUploadParts")
        if request.media_id not in self.announced:
            failure = Failure("no such upload", code="NOT_FOUND", reason="MEDIA_NOT_FOUND")
            await context.abort_with_status(to_grpc(failure))
        return media_pb2.ListUploadPartsResponse(
            upload=self._upload(request.media_id), parts=self._parts(request.media_id)
        )

    async def CompleteUpload(self, request: media_pb2.CompleteUploadRequest, context: Any) -> Any:
        self.calls.append("CompleteUpload")
        await self._fail(context)
        stored = sorted(
            (int(number), part) for (file, number), part in self.store.parts.items() if file == request.media_id
        )
        self.store.files[request.media_id] = b"".join(part for _, part in stored)
        return media_pb2.CompleteUploadResponse(media=self._media(request.media_id))

    async def AbortUpload(self, request: media_pb2.AbortUploadRequest, context: Any) -> Any:
        self.calls.append("AbortUpload")
        self.announced.pop(request.media_id, None)
        return media_pb2.AbortUploadResponse()

    async def Upload(self, requests: AsyncIterator[media_pb2.UploadRequest], context: Any) -> Any:
        self.calls.append("Upload")
        if self.refusal is not None:
            await context.abort_with_status(to_grpc(self.refusal))
        start = (await anext(requests)).start
        media_id = self.media_ids.setdefault(start.request_id, uuid.uuid4().hex)
        self.announced[media_id] = start.file
        self.store.files[media_id] = b"".join([frame.chunk async for frame in requests])
        await self._fail(context)
        if len(self.store.files[media_id]) != start.file.size_bytes:
            await context.abort_with_status(to_grpc(Failure("size", code="INVALID_ARGUMENT", reason="FIELD_INVALID")))
        return media_pb2.UploadResponse(media=self._media(media_id))

    async def GetMedia(self, request: media_pb2.GetMediaRequest, context: Any) -> Any:
        return media_pb2.GetMediaResponse(media=self._media(request.media_id))

    async def GetDownloadUrl(self, request: media_pb2.GetDownloadUrlRequest, context: Any) -> Any:
        self.calls.append("GetDownloadUrl")
        response = media_pb2.GetDownloadUrlResponse(url=self._url(request.media_id, 0))
        response.expire_time.FromSeconds(int(time.time()) + 600)
        return response

    async def Download(self, request: media_pb2.DownloadRequest, context: Any) -> AsyncIterator[Any]:
        self.calls.append("Download")
        content = self.store.files[request.media_id]
        end = request.offset_bytes + (request.length_bytes or len(content))
        yield media_pb2.DownloadResponse(header=media_pb2.DownloadResponse.Header(total_bytes=len(content)))
        for offset in range(request.offset_bytes, min(end, len(content)), 65536):
            yield media_pb2.DownloadResponse(chunk=content[offset : min(offset + 65536, end)])
        await self._fail(context)

    async def _fail(self, context: Any) -> None:
        if self.failures:
            await context.abort_with_status(to_grpc(self.failures.popleft()))

    def add(self, content: bytes, name: str) -> str:
        """Add a complete file; return its id."""
        media_id = uuid.uuid4().hex
        self.announced[media_id] = media_pb2.FileDescription(file_name=name, size_bytes=len(content))
        self.store.files[media_id] = content
        return media_id

    def _media(self, media_id: str) -> media_pb2.Media:
        content = self.store.files[media_id]
        return media_pb2.Media(
            media_id=media_id,
            state=self.states.popleft() if self.states else media_pb2.MEDIA_STATE_READY,  # type: ignore[arg-type]
            kind=media_pb2.MEDIA_KIND_FILE,
            file_name=self.announced[media_id].file_name,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).digest() if self.sha256 is None else self.sha256,
        )

    def _upload(self, media_id: str) -> media_pb2.Upload:
        count = -(-self.announced[media_id].size_bytes // PART_BYTES)
        return media_pb2.Upload(media_id=media_id, part_size_bytes=PART_BYTES, part_count=count)

    def _parts(self, media_id: str) -> list[media_pb2.Part]:
        size, parts = self.announced[media_id].size_bytes, []
        for number, offset in enumerate(range(0, size, PART_BYTES), start=1):
            part = media_pb2.Part(part_number=number, offset_bytes=offset, size_bytes=min(PART_BYTES, size - offset))
            part.stored = (media_id, str(number)) in self.store.parts
            if not part.stored:
                part.url = self._url(media_id, number)
                part.url_expire_time.FromSeconds(int(time.time()) + 600)
            parts.append(part)
        return parts

    def _url(self, media_id: str, number: int) -> str:
        return f"http://127.0.0.1:{self.store.port}/{media_id}/{number}/{self.store.signature}"


class MediaServer:
    """The running servers, and clients of them."""

    def __init__(self, servicer: MediaServicer, door: str) -> None:
        self.servicer = servicer
        self.store = servicer.store
        self.door = door

    def client(self, store: SessionStore | None = None) -> Client:
        """Return a client that is signed in."""
        store = store or MemoryStore()
        session = Session("a" * 32, "b" * 32, "alice", "token", time.time() + 3600, "", door=Door(self.door))
        if store.load() is None:
            store.save(session)
        return Client(self.door, store=store, retry_timeout_s=5.0)


@asynccontextmanager
async def media_server() -> AsyncIterator[MediaServer]:
    """Run the servers."""
    store = PartStore()
    servicer = MediaServicer(store)
    http = await asyncio.start_server(store.handle, "127.0.0.1", 0, limit=1 << 20)
    store.port = http.sockets[0].getsockname()[1]
    rpc = grpc.aio.server()
    media_pb2_grpc.add_MediaServiceServicer_to_server(servicer, rpc)
    port = rpc.add_insecure_port("127.0.0.1:0")
    await rpc.start()
    try:
        yield MediaServer(servicer, f"127.0.0.1:{port}")
    finally:
        store.resume.set()
        await rpc.stop(None)
        http.close()
