"""MediaService: uploads and downloads of users."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from media_service.access import MediaAccess
from media_service.downloads import Downloads
from media_service.errors import field_invalid
from media_service.model.media import MediaFile, MediaState, sent_key
from media_service.model.object_store import ObjectStore
from media_service.uploads.completion import Completion
from media_service.uploads.uploads import Uploads
from media_service.wire.media import (
    decode_description,
    decode_variant,
    encode_media,
    encode_part,
    encode_upload,
    timestamp,
)
from parley.media.v1 import media_pb2
from servicekit import validation
from servicekit.admission import DeviceAdmission
from servicekit.clock import Clock
from servicekit.errors import FrameEmpty, FrameTooLarge, RateLimited, TimedOut
from servicekit.page_tokens import decode_page_token, encode_page_token
from servicekit.rate_limiter import RateLimiter
from servicekit.rpc import ByteStream, Call

DEFAULT_PARTS_PAGE: Final = 100
PART_POSITION: Final = re.compile(r"[1-9][0-9]{0,4}")
# A frame holds a chunk of 256 KiB, and its tag and length.
MAX_FRAME_BYTES: Final = 256 * 1024 + 64
PART_URL_LIFETIME_S: Final = 3600
# An upload that sends nothing for this long ends.
IDLE_TIMEOUT_S: Final = 30.0
DISCONNECT_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class MediaDependencies:
    """The collaborators of the servicer."""

    access: MediaAccess
    admission: DeviceAdmission | None
    uploads: Uploads
    completion: Completion
    downloads: Downloads
    objects: ObjectStore
    upload_rates: RateLimiter
    clock: Clock


class MediaServicer:
    """Serves MediaService."""

    def __init__(self, dependencies: MediaDependencies) -> None:
        self._access = dependencies.access
        self._admission = dependencies.admission
        self._uploads = dependencies.uploads
        self._completion = dependencies.completion
        self._downloads = dependencies.downloads
        self._objects = dependencies.objects
        self._rates = dependencies.upload_rates
        self._clock = dependencies.clock

    async def CreateUpload(self, request: media_pb2.CreateUploadRequest, call: Call) -> media_pb2.CreateUploadResponse:
        """Begin an upload in parts, and return the addresses of the first parts."""
        self._limit_rate(call)
        description = decode_description(request.file)
        file = await self._uploads.create(call.caller.user_id, request.request_id, description, in_parts=True)
        file = await self._uploads.begin_parts(file)
        page = await self._list_parts(file, 0, request.page_size or DEFAULT_PARTS_PAGE)
        listing = media_pb2.ListUploadPartsRequest(media_id=file.media_id)
        return media_pb2.CreateUploadResponse(
            upload=encode_upload(file), parts=page, next_page_token=_next_parts_token(listing, file, page)
        )

    async def ListUploadParts(
        self, request: media_pb2.ListUploadPartsRequest, call: Call
    ) -> media_pb2.ListUploadPartsResponse:
        """Return a page of parts, with addresses for those that are not stored."""
        after = int(decode_page_token(request, PART_POSITION) or 0)
        file = await self._uploads.find_upload(call.caller.user_id, request.media_id)
        file = await self._uploads.begin_parts(file)
        page = await self._list_parts(file, after, request.page_size or DEFAULT_PARTS_PAGE)
        return media_pb2.ListUploadPartsResponse(
            upload=encode_upload(file), parts=page, next_page_token=_next_parts_token(request, file, page)
        )

    async def CompleteUpload(
        self, request: media_pb2.CompleteUploadRequest, call: Call
    ) -> media_pb2.CompleteUploadResponse:
        """Join the parts, verify them, and return the file."""
        file = await self._access.find_owned(call.caller.user_id, request.media_id)
        if file.failure is not None:
            raise file.failure
        file = await self._uploads.find_upload(call.caller.user_id, request.media_id)
        return media_pb2.CompleteUploadResponse(media=encode_media(await self._completion.complete_parts(file)))

    async def AbortUpload(self, request: media_pb2.AbortUploadRequest, call: Call) -> media_pb2.AbortUploadResponse:
        """Remove an unfinished upload."""
        await self._uploads.abort(call.caller.user_id, request.media_id)
        return media_pb2.AbortUploadResponse()

    async def Upload(self, stream: ByteStream, call: Call) -> media_pb2.UploadResponse:
        """Store a small file from the chunks of the stream."""
        if self._admission is not None:
            await self._admission.admit(call.caller)
        self._limit_rate(call)
        start = await _read_start(stream)
        description = decode_description(start.file)
        file = await self._uploads.create(call.caller.user_id, start.request_id, description, in_parts=False)
        if file.state is MediaState.UPLOADING:
            async with aclosing(_read_chunks(stream, description.size_bytes)) as chunks:
                file = await self._completion.stream(file, chunks)
        return media_pb2.UploadResponse(media=encode_media(file))

    async def GetMedia(self, request: media_pb2.GetMediaRequest, call: Call) -> media_pb2.GetMediaResponse:
        """Return the metadata of a file."""
        file = await self._access.find_visible(call.caller.user_id, request.media_id)
        return media_pb2.GetMediaResponse(media=encode_media(file))

    async def GetDownloadUrl(
        self, request: media_pb2.GetDownloadUrlRequest, call: Call
    ) -> media_pb2.GetDownloadUrlResponse:
        """Return a signed address of a file."""
        address = await self._downloads.sign_address(
            call.caller.user_id, request.media_id, decode_variant(request.variant), attachment=request.as_attachment
        )
        return media_pb2.GetDownloadUrlResponse(url=address.url, expire_time=timestamp(address.expire_ms))

    async def Download(
        self, request: media_pb2.DownloadRequest, call: Call
    ) -> AsyncIterator[media_pb2.DownloadResponse]:
        """Stream a range of a file."""
        found = await self._downloads.find_range(
            call.caller.user_id,
            request.media_id,
            decode_variant(request.variant),
            request.offset_bytes,
            request.length_bytes,
        )
        yield media_pb2.DownloadResponse(
            header=media_pb2.DownloadResponse.Header(
                media=encode_media(found.file),
                content_type=found.content_type,
                offset_bytes=found.offset,
                length_bytes=found.length,
                total_bytes=found.total_bytes,
            )
        )
        async with aclosing(self._downloads.read(found)) as chunks:
            async for chunk in chunks:
                yield media_pb2.DownloadResponse(chunk=chunk)

    def _limit_rate(self, call: Call) -> None:
        if (wait := self._rates.take(call.caller.device_id)) > 0:
            raise RateLimited("device upload rate limit exceeded", retry_after=wait)

    async def _list_parts(self, file: MediaFile, after: int, size: int) -> list[media_pb2.Part]:
        """Return up to `size` parts with numbers after `after`."""
        stored, key = await self._uploads.list_stored(file), sent_key(file.media_id)
        expire_ms = self._clock.now_ms() + PART_URL_LIFETIME_S * 1000
        parts = []
        for number in range(after + 1, min(after + size, file.part_count) + 1):
            url = ""
            if number not in stored:
                size_bytes = file.part_bytes(number)
                url = self._objects.sign_part(key, file.upload_id, number, size_bytes, PART_URL_LIFETIME_S)
            parts.append(encode_part(file, number, url, expire_ms))
        return parts


def _next_parts_token(request: media_pb2.ListUploadPartsRequest, file: MediaFile, page: list[media_pb2.Part]) -> str:
    last = page[-1].part_number if page else file.part_count
    return encode_page_token(request, str(last)) if last < file.part_count else ""


async def _read_start(stream: ByteStream) -> media_pb2.UploadRequest.Start:
    """Return the first frame of an upload. Raise FrameEmpty if it is not a `start`, and Invalid."""
    frame = await _read_frame(stream)
    if frame is None or frame.WhichOneof("frame") != "start":
        raise FrameEmpty("the first frame of an upload must be `start`")
    return frame.start


async def _read_chunks(stream: ByteStream, size_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of an upload. Raise Invalid if they have more or fewer bytes than announced together.

    Fewer are told only after DISCONNECT_WAIT_S: a wrong size ends the upload for good, a lost connection does not.
    """
    received = 0
    while (frame := await _read_frame(stream)) is not None:
        if frame.WhichOneof("frame") != "chunk":
            raise FrameEmpty("after `start`, each frame of an upload must be a `chunk`")
        received += len(frame.chunk)
        if received > size_bytes:
            break
        yield frame.chunk
    if received < size_bytes:
        # If the client has left, its frames may seem to end a moment before this call is cancelled.
        await asyncio.sleep(DISCONNECT_WAIT_S)
    if received != size_bytes:
        more = "more" if received > size_bytes else f"{received}"
        raise field_invalid("start.file.size_bytes", f"{size_bytes} bytes were announced, {more} were sent")


async def _read_frame(stream: ByteStream) -> media_pb2.UploadRequest | None:
    """Return the next frame; None once the client has half-closed. Raise Invalid, FrameEmpty, FrameTooLarge."""
    try:
        async with asyncio.timeout(IDLE_TIMEOUT_S):
            data = await stream.read()
    except TimeoutError:
        raise TimedOut(f"the upload sent nothing for {IDLE_TIMEOUT_S:g} s") from None
    if data is None:
        return None
    if len(data) > MAX_FRAME_BYTES:
        raise FrameTooLarge(f"a frame of an upload has at most {MAX_FRAME_BYTES} bytes, this one has {len(data)}")
    frame = validation.parse(media_pb2.UploadRequest, data)
    if frame.WhichOneof("frame") is None:
        raise FrameEmpty("the frame is empty or of a kind this server does not know")
    validation.check(frame)
    return frame
