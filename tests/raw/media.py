"""Uploads and downloads of one device by the contract alone: streams by gRPC, parts by PUTs to the signed addresses."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import grpc
import httpx2

from parley.media.v1 import media_pb2
from tests.raw.calls import PATIENCE, call
from tests.raw.device import RawDevice
from tests.raw.refusal import Refusal, of_error
from tests.raw.world import World

SERVICE = "/parley.media.v1.MediaService"
CHUNK = 64 * 1024
# Longer than a server verifies a file before it asks the client to call again.
VERIFICATION = 30.0


@dataclass(frozen=True, slots=True)
class Downloaded:
    """The header of a download, and its bytes."""

    header: media_pb2.DownloadResponse.Header
    data: bytes


class RawMedia:
    """The files of a device. `channel` leads to the door."""

    def __init__(self, device: RawDevice, channel: grpc.aio.Channel) -> None:
        self.device = device
        self._channel = channel
        self.http = httpx2.AsyncClient(trust_env=False, timeout=PATIENCE)

    async def close(self) -> None:
        """Close the connections to the store."""
        await self.http.aclose()

    async def upload(self, data: bytes, **description: Any) -> media_pb2.Media:
        """Store a file by a stream, and return it. Raises AioRpcError."""
        media: media_pb2.Media = await self.stream(frames_of(data, **description))
        return media

    async def stream(self, frames: Iterable[media_pb2.UploadRequest] | AsyncIterator[bytes]) -> Any:
        """Send the frames of an upload, and return its file. Raises AioRpcError."""
        method: Any = self._channel.stream_unary(
            f"{SERVICE}/Upload", response_deserializer=media_pb2.UploadResponse.FromString
        )
        sent = frames if isinstance(frames, AsyncIterator) else _serialized(frames)
        return (await method(sent, metadata=self.device.metadata, timeout=60)).media

    async def upload_refusal(self, data: bytes, **description: Any) -> Refusal:
        """Return the refusal of an upload."""
        return await self.stream_refusal(frames_of(data, **description))

    async def stream_refusal(self, frames: Iterable[media_pb2.UploadRequest] | AsyncIterator[bytes]) -> Refusal:
        """Return the refusal of an upload, of which the frames are given. Raises AssertionError if it succeeds."""
        try:
            answer = await self.stream(frames)
        except grpc.aio.AioRpcError as error:
            return of_error(error)
        raise AssertionError(f"not refused, but answered: {answer}")

    async def download(self, media_id: str, **wanted: Any) -> Downloaded:
        """Return a file or a range of it. Raises AioRpcError."""
        method: Any = self._channel.unary_stream(
            f"{SERVICE}/Download", response_deserializer=media_pb2.DownloadResponse.FromString
        )
        request = media_pb2.DownloadRequest(media_id=media_id, **wanted)
        call = method(request.SerializeToString(), metadata=self.device.metadata, timeout=60)
        frames = [frame async for frame in call]
        kinds = [frame.WhichOneof("frame") for frame in frames]
        assert kinds == ["header", *["chunk"] * (len(frames) - 1)]
        return Downloaded(frames[0].header, b"".join(frame.chunk for frame in frames[1:]))

    async def download_refusal(self, media_id: str, **wanted: Any) -> Refusal:
        """Return the refusal of a download. Raises AssertionError if it succeeds."""
        try:
            answer = await self.download(media_id, **wanted)
        except grpc.aio.AioRpcError as error:
            return of_error(error)
        raise AssertionError(f"not refused, but answered: {answer.header}")

    async def create(self, data: bytes, **description: Any) -> Any:
        """Begin an upload of `data` in parts."""
        return await self.device.call(
            media_pb2.CreateUploadRequest(request_id=str(uuid.uuid4()), file=describe(data, **description))
        )

    async def put_part(self, data: bytes, part: media_pb2.Part) -> httpx2.Response:
        """PUT a part of `data` to its address."""
        headers = {header.name: header.value for header in part.headers}
        body = data[part.offset_bytes : part.offset_bytes + part.size_bytes]
        return await self.http.put(part.url, content=body, headers=headers)

    async def upload_parts(self, data: bytes, **description: Any) -> media_pb2.Media:
        """Store a file in parts, and return it."""
        created = await self.create(data, **description)
        for part in created.parts:
            (await self.put_part(data, part)).raise_for_status()
        media: media_pb2.Media = await self.complete(created.upload.media_id)
        return media

    async def complete(self, media_id: str) -> Any:
        """Complete an upload in parts, and return its file."""
        request = media_pb2.CompleteUploadRequest(media_id=media_id)
        return (await call(self._channel, request, self.device.metadata, timeout=VERIFICATION)).media

    async def get(self, media_id: str) -> Any:
        """Return the metadata of a file."""
        return (await self.device.call(media_pb2.GetMediaRequest(media_id=media_id))).media

    async def address(self, media_id: str, **wanted: Any) -> str:
        """Return an address to download from."""
        response = await self.device.call(media_pb2.GetDownloadUrlRequest(media_id=media_id, **wanted))
        return str(response.url)


async def upload(world: World, device: RawDevice, data: bytes) -> media_pb2.Media:
    """Store a file of a device, and return it."""
    files = RawMedia(device, world.channel(world.stack.door))
    try:
        return await files.upload(data)
    finally:
        await files.close()


def describe(data: bytes, **description: Any) -> media_pb2.FileDescription:
    """Return the description of a file."""
    return media_pb2.FileDescription(**{"size_bytes": len(data), **description})


def frames_of(data: bytes, request_id: str = "", **description: Any) -> list[media_pb2.UploadRequest]:
    """Return the frames of an upload."""
    start = media_pb2.UploadRequest.Start(
        request_id=request_id or str(uuid.uuid4()), file=describe(data, **description)
    )
    chunks = [data[offset : offset + CHUNK] for offset in range(0, len(data), CHUNK)]
    return [media_pb2.UploadRequest(start=start), *(media_pb2.UploadRequest(chunk=chunk) for chunk in chunks)]


async def _serialized(frames: Iterable[media_pb2.UploadRequest]) -> AsyncIterator[bytes]:
    for frame in frames:
        yield frame.SerializeToString()
