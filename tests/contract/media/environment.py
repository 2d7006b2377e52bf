"""The parts of a media server without S3, chat and workers: its records are in a real mongod."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import uuid_utils

from media_service.access import MediaAccess
from media_service.collection.collector import Collector
from media_service.collection.times import CollectionTimes
from media_service.model.media import FileDescription, MediaFacts, MediaFile, MediaKind, sent_key
from media_service.model.object_store import ObjectNotFound, StoredPart
from media_service.storage.media_store import MongoMediaStore
from media_service.uploads.completion import Completion
from media_service.uploads.uploads import UploadLimits, Uploads
from servicekit.errors import ServiceUnavailable, StoreUnavailable
from servicekit.mongo import Database
from tests.clock import ManualClock

DAY_S: Final = 86_400.0
TIMES: Final = CollectionTimes(
    recheck_s=DAY_S,
    pause_s=1,
    timeout_s=300,
    tombstone_s=600,
    adoption_s=60,
    rejected_s=DAY_S,
    unreferenced_s=DAY_S,
    scan_retry_s=10,
)
LIMITS: Final = UploadLimits(
    streamed_bytes=1000, file_bytes=100_000, quota_bytes=100_000, quota_files=100, quota_uploads=2, lifetime_s=DAY_S
)


class MemoryObjects:
    """An ObjectStore in memory; `broken` makes it unavailable."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, str] = {}
        self.broken = False

    async def put(self, key: str, size_bytes: int, chunks: AsyncIterable[bytes]) -> None:
        """See ObjectStore."""
        data = b"".join([chunk async for chunk in chunks])
        assert len(data) == size_bytes
        self.objects[key] = data

    async def read(self, key: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """See ObjectStore."""
        if key not in self.objects:
            raise ObjectNotFound(key)
        yield self.objects[key][offset : None if length is None else offset + length]

    async def size_of(self, key: str) -> int | None:
        """See ObjectStore."""
        return len(self.objects[key]) if key in self.objects else None

    async def delete(self, keys: Collection[str]) -> None:
        """See ObjectStore."""
        if self.broken:
            raise StoreUnavailable("the file store does not answer")
        for key in keys:
            self.objects.pop(key, None)

    async def create_parts(self, key: str) -> str:
        """See ObjectStore."""
        upload_id = uuid_utils.uuid4().hex
        self.uploads[upload_id] = key
        return upload_id

    async def list_parts(self, key: str, upload_id: str) -> list[StoredPart]:
        """See ObjectStore."""
        raise ObjectNotFound(f"{key} {upload_id}")

    async def complete_parts(self, key: str, upload_id: str, parts: Sequence[StoredPart]) -> None:
        """See ObjectStore."""

    async def abort_parts(self, key: str, upload_id: str | None = None) -> None:
        """See ObjectStore."""
        aborted = [each for each in self.uploads if self.uploads[each] == key and upload_id in {None, each}]
        for each in aborted:
            del self.uploads[each]

    def sign_part(self, key: str, upload_id: str, number: int, size_bytes: int, expires_s: int) -> str:
        """See ObjectStore."""
        return f"{key} {upload_id} {number} {size_bytes} {expires_s}"

    def sign_download(self, key: str, expires_s: int, content_type: str, disposition: str) -> str:
        """See ObjectStore."""
        return f"{key} {expires_s} {content_type} {disposition}"


@dataclass
class FakeDirectory:
    """A Directory; `down` makes it unavailable."""

    referenced: set[str] = field(default_factory=set)
    down: bool = False

    async def is_allowed(self, _: str, media_id: str) -> bool:
        """See Directory."""
        return media_id in self.referenced

    async def filter_referenced(self, media_ids: Collection[str]) -> set[str]:
        """See Directory."""
        if self.down:
            raise ServiceUnavailable("chat does not answer")
        return self.referenced & set(media_ids)

    async def is_signed_in(self, _: str, __: str) -> bool:
        """See Directory."""
        return True


class PlainInspector:
    """Takes every file for a plain one, after reading its bytes."""

    def __init__(self, objects: MemoryObjects) -> None:
        self._objects = objects

    async def inspect(self, file: MediaFile, digest: bytes) -> MediaFacts:
        """Return the facts of a plain file."""
        data = b"".join([chunk async for chunk in self._objects.read(sent_key(file.media_id))])
        return MediaFacts(MediaKind.FILE, "application/octet-stream", len(data), digest)


class MediaEnvironment:
    """The parts of a media server on `database`."""

    def __init__(self, database: Database) -> None:
        self.store = MongoMediaStore(database)
        self.objects = MemoryObjects()
        self.directory = FakeDirectory()
        self.clock = ManualClock()
        access = MediaAccess(self.store, self.directory, self.clock)
        self.uploads = Uploads(self.store, self.objects, access, LIMITS, self.clock)
        self.completion = self.new_completion()
        self.collector = Collector(self.store, self.objects, self.directory, self.clock, TIMES)

    def new_completion(self, *, scan: bool = False, lease_s: float = 30) -> Completion:
        """Return the completion of another server."""
        inspector = PlainInspector(self.objects)
        return Completion(
            self.store,
            self.objects,
            inspector,  # type: ignore[arg-type]
            self.clock,
            scan=scan,
            unreferenced_s=DAY_S,
            lease_s=lease_s,
        )

    async def begin(self, owner_id: str, data: bytes, *, in_parts: bool = False) -> MediaFile:
        """Return a new upload of `data` in UPLOADING."""
        description = FileDescription("a.bin", "", len(data), sha256(data).digest())
        return await self.uploads.create(owner_id, str(uuid_utils.uuid4()), description, in_parts=in_parts)

    async def upload(self, owner_id: str, data: bytes) -> MediaFile:
        """Return a READY file."""
        return await self.completion.stream(await self.begin(owner_id, data), chunks_of(data))

    async def find(self, media_id: str) -> MediaFile:
        """Return a file, which must exist."""
        found = await self.store.find(media_id)
        assert found is not None
        return found

    async def quota_used(self, owner_id: str) -> int:
        """Return the bytes that count for the quota of a user."""
        return (await self.store.load_usage(owner_id)).size_bytes


async def chunks_of(*chunks: bytes) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk
