"""Files: pictures, videos, sound and anything else, uploaded to the server and downloaded from it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from parley.chat.v1 import chat_pb2
from parley.media.v1 import media_pb2
from parley_client.calls import AuthenticatedCalls
from parley_client.channel import Channel
from parley_client.clock import ServerClock
from parley_client.errors import ContentTooLarge, NotFound
from parley_client.media.facts import Media, MediaVariant
from parley_client.media.file_names import safe_name, sendable_name
from parley_client.media.partial_file import MAX_TARGET_NAME_BYTES, ExpectedFile
from parley_client.media.progress import Progress, ProgressCallback
from parley_client.media.source_file import SourceFile
from parley_client.media.upload_records import UploadRecords, record_key
from parley_client.tokens import TokenSource

if TYPE_CHECKING:
    from parley_client.media.byte_sources import ByteSource
    from parley_client.media.object_store import ObjectStore
    from parley_client.media.uploader import Uploader

# The bounds of a server that has not told its own: the default for one `Upload` call, and that for one `Download` call.
DEFAULT_UPLOAD_BYTES = 10 << 20
MAX_DOWNLOAD_BYTES = 10 << 20


class Files:
    """The files that the signed-in user sends and receives. Every method raises ParleyError.

    A file up to 10 MiB goes through the gateway, a larger one straight to the store of the deployment, four parts at a
    time. Neither is ever in memory as a whole, and no progress is lost: an upload or download that was interrupted, or
    cancelled, is continued by the next call for the same file. With a FileStore that may be in another process.
    """

    def __init__(
        self,
        channel: Channel,
        calls: AuthenticatedCalls,
        tokens: TokenSource,
        clock: ServerClock,
        records: UploadRecords,
    ) -> None:
        self._channel = channel
        self._calls = calls
        self._tokens = tokens
        self._clock = clock
        self._records = records
        self._limits: chat_pb2.Limits | None = None
        self._store: ObjectStore | None = None

    async def upload(
        self,
        path: Path | str,
        *,
        file_name: str | None = None,
        content_type: str = "",
        waveform: bytes = b"",
        on_progress: ProgressCallback | None = None,
    ) -> Media:
        """Upload a file, and wait until it can be sent.

        `file_name` is the name that others see; None: that of `path`. The server detects the type itself and removes
        private metadata such as locations, except if `content_type` is `application/octet-stream`. `waveform` makes
        sound a voice note: at most 64 peaks, a byte each. `on_progress` is called with the sent and all bytes.

        Raises OSError too. Errors of files alone are FileChanged, ContentTooLarge, QuotaExceeded and MediaRejected.
        """
        self._check_size((await asyncio.to_thread(Path(path).stat)).st_size)
        file = await SourceFile.open(Path(path))
        announced = media_pb2.FileDescription(
            file_name=sendable_name(file.path.name) if file_name is None else file_name,
            content_type=content_type,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            waveform=waveform,
        )
        progress = Progress(file.size_bytes, on_progress)
        media = Media.from_proto(await self._upload(file, announced, progress))
        progress.finish()
        return media

    async def get(self, media_id: str) -> Media:
        """Return the facts about a file."""
        return Media.from_proto(await self._get(media_id))

    async def download(
        self,
        media: Media | str,
        path: Path | str,
        *,
        variant: MediaVariant = MediaVariant.ORIGINAL,
        overwrite: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> Path:
        """Download a file, or a smaller picture of it; return the path of the result.

        `path` names the file or a folder. In a folder, the file gets the name that its sender gave it, made safe. An
        existing file is kept, and the new one is called "name (1).ext", unless `overwrite`. The file appears once it is
        complete and its SHA-256 is verified; until then its bytes are in "name.ext.part".

        Raises OSError too. Errors of files alone are FileDamaged, MediaNotReady and MediaRejected.
        """
        found = await self._get(media.media_id if isinstance(media, Media) else media)
        expected, content_type = _expect(found, variant)
        target = Path(path)
        if await asyncio.to_thread(target.is_dir):
            name = found.file_name if variant is MediaVariant.ORIGINAL else Path(found.file_name).stem + ".webp"
            target /= safe_name(name, content_type, fallback=found.media_id[:8], max_bytes=MAX_TARGET_NAME_BYTES)
        # Imported here because an HTTP client is slow to load, and most programs need none.
        from parley_client.media.downloader import download_to_file

        progress = Progress(expected.size_bytes, on_progress)
        source = self._source(found.media_id, variant, expected.size_bytes)
        downloaded = await download_to_file(source, expected, target, progress, overwrite=overwrite)
        progress.finish()
        return downloaded

    async def read(self, media: Media | str, *, variant: MediaVariant = MediaVariant.ORIGINAL) -> bytes:
        """Return the bytes of a file up to 10 MiB, or of a smaller picture of it. Raises ContentTooLarge."""
        media_id = media.media_id if isinstance(media, Media) else media
        request = media_pb2.DownloadRequest(media_id=media_id, variant=variant.value)
        frames = await self._calls.collect(lambda channel: channel.media.Download, request)
        return b"".join(frame.chunk for frame in frames)

    def set_limits(self, limits: chat_pb2.Limits) -> None:
        """Set the limits that the server told a device."""
        self._limits = limits

    async def close(self) -> None:
        """Close the connections to the store of the files."""
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    async def _upload(
        self, file: SourceFile, announced: media_pb2.FileDescription, progress: Progress
    ) -> media_pb2.Media:
        uploader = self._uploader()
        if file.size_bytes <= self._upload_bytes:
            try:
                return await uploader.upload_by_stream(file, announced, progress)
            except ContentTooLarge:
                # Without a device, the limit of the deployment is not known. A picture may also have too many pixels.
                if self._limits is not None:
                    raise
        key = record_key(self._tokens.active_session.user_id, file, announced.SerializeToString(deterministic=True))
        return await uploader.upload_in_parts(file, announced, progress, key)

    async def _get(self, media_id: str) -> media_pb2.Media:
        request = media_pb2.GetMediaRequest(media_id=media_id)
        return (await self._calls.call(lambda channel: channel.media.GetMedia, request)).media

    @property
    def _upload_bytes(self) -> int:
        told = self._limits.media_upload_bytes if self._limits is not None else 0
        return told or DEFAULT_UPLOAD_BYTES

    def _check_size(self, size_bytes: int) -> None:
        """Raise ContentTooLarge before a large file is hashed in vain."""
        limit = self._limits.media_file_bytes if self._limits is not None else 0
        if limit and size_bytes > limit:
            raise ContentTooLarge(
                f"the file exceeds {limit:,} bytes", code="INVALID_ARGUMENT", reason="CONTENT_TOO_LARGE"
            )

    def _uploader(self) -> Uploader:
        from parley_client.media.uploader import Uploader

        return Uploader(self._calls, self._clock, self._open_store(), self._records)

    def _source(self, media_id: str, variant: MediaVariant, size_bytes: int) -> ByteSource:
        from parley_client.media.byte_sources import CallSource, UrlSource

        if size_bytes <= MAX_DOWNLOAD_BYTES:
            return CallSource(self._calls, media_id, variant)
        return UrlSource(self._calls, self._clock, self._open_store(), media_id, variant)

    def _open_store(self) -> ObjectStore:
        from parley_client.media.object_store import ObjectStore

        if self._store is None:
            self._store = ObjectStore(self._channel.door)
        return self._store


def _expect(media: media_pb2.Media, variant: MediaVariant) -> tuple[ExpectedFile, str]:
    """Return the file that a download yields, and its media type. Raises NotFound if there is no such picture of it."""
    if variant is MediaVariant.ORIGINAL:
        expected = ExpectedFile(media.media_id, variant.value, media.size_bytes, media.sha256.hex())
        return expected, media.content_type
    picture = media.thumbnail if variant is MediaVariant.THUMBNAIL else media.preview
    if not picture.size_bytes:
        raise NotFound(f"the file has no {variant.name.lower()}", code="NOT_FOUND")
    return ExpectedFile(media.media_id, variant.value, picture.size_bytes, ""), picture.content_type
