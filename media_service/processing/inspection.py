"""The inspection of a complete file: its type, its private metadata, its facts, and its smaller pictures."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from hashlib import sha256

import structlog

from media_service.errors import field_invalid
from media_service.model.media import (
    OPAQUE,
    MediaFacts,
    MediaFile,
    MediaKind,
    StoredVariant,
    Variant,
    sent_key,
    variant_key,
)
from media_service.model.object_store import ObjectStore
from media_service.processing.buffered_reader import Malformed
from media_service.processing.byte_ranges import ByteRange, parse_ranges, read_segments, segments_size
from media_service.processing.containers import read_container
from media_service.processing.detection import HEAD_BYTES, PICTURE_TYPES, SOUND_TYPES, detect
from media_service.processing.facts import MetadataNotRemovable, NotDecodable, PictureFacts, Rendition, TooManyPixels
from media_service.processing.metadata import plan_removal
from media_service.processing.worker_pool import WorkerPool
from servicekit.errors import ContentTooLarge

log = structlog.get_logger("inspection")


@dataclass(frozen=True, slots=True)
class _Original:
    """The bytes of a file as they will be stored: the key of their object, their type, size and digest."""

    key: str
    content_type: str
    size_bytes: int
    sha256: bytes
    rewritten: bool = False


class FileInspector:
    """Inspects files in the store. `types` are the media types or patterns that are permitted; none: all."""

    def __init__(
        self, objects: ObjectStore, workers: WorkerPool, *, types: Sequence[str], remove_metadata: bool
    ) -> None:
        self._objects = objects
        self._workers = workers
        self._types = types
        self._remove_metadata = remove_metadata

    async def inspect(self, file: MediaFile, digest: bytes) -> MediaFacts:
        """Return the facts of a file whose sent bytes are stored, and store its rewritten original and its pictures.

        `digest` is that of the sent bytes; empty if unknown. A repeat stores the same objects again. Raise Invalid for
        a type that is not permitted, ContentTooLarge for too many pixels, ServerBusy, and StoreUnavailable.
        """
        sent = _Original(sent_key(file.media_id), await self._detect_type(file), file.description.size_bytes, digest)
        if not _is_permitted(sent.content_type, self._types):
            raise field_invalid("file", f"{sent.content_type} files may not be uploaded; permitted: {self._types}")
        original = await self._remove_private_metadata(file, sent) if self._remove_metadata else sent
        if original.content_type in PICTURE_TYPES | SOUND_TYPES:
            return await self._inspect_by_worker(file, original)
        facts = _facts_of(original)
        return await self._add_dimensions(original, facts) if facts.kind is MediaKind.VIDEO else facts

    async def _detect_type(self, file: MediaFile) -> str:
        if file.description.opaque:
            return OPAQUE
        return detect(await self._read_range(sent_key(file.media_id), ByteRange(0, HEAD_BYTES)))

    async def _remove_private_metadata(self, file: MediaFile, sent: _Original) -> _Original:
        """Store a copy without private metadata if there is any. A file that is not of its type is a plain file."""
        read = partial(self._read_range, sent.key)
        try:
            segments = await parse_ranges(plan_removal(sent.content_type, sent.size_bytes), read)
        except Malformed as error:
            log.info("file is not of its type", media_id=file.media_id, type=sent.content_type, error=str(error))
            return replace(sent, content_type=OPAQUE)
        if segments is None:
            return sent
        chunks = read_segments(segments, partial(self._stream_range, sent.key))
        return await self._store_original(file, sent, chunks, segments_size(segments))

    async def _store_original(
        self, file: MediaFile, sent: _Original, chunks: AsyncGenerator[bytes, None], size_bytes: int
    ) -> _Original:
        """Store the original in an object of its own."""
        digest, key = sha256(), f"{file.media_id}/original"

        async def hashed() -> AsyncGenerator[bytes, None]:
            async for chunk in chunks:
                digest.update(chunk)
                yield chunk

        async with aclosing(chunks), aclosing(hashed()) as stream:
            await self._objects.put(key, size_bytes, stream)
        return replace(sent, key=key, size_bytes=size_bytes, sha256=digest.digest(), rewritten=True)

    async def _inspect_by_worker(self, file: MediaFile, original: _Original) -> MediaFacts:
        """Return the facts of a picture or a sound. One that cannot be decoded is a plain file, or a silent sound."""
        try:
            found = await self._workers.read_facts(
                original.content_type, original.size_bytes, partial(self._objects.read, original.key)
            )
        except TooManyPixels as error:
            raise ContentTooLarge(f"{error}") from None
        except MetadataNotRemovable as error:
            raise field_invalid("file", f"{error}; send the picture in another format, or encrypted") from None
        except NotDecodable as error:
            log.info("file cannot be decoded", media_id=file.media_id, type=original.content_type, error=str(error))
            sound = original.content_type in SOUND_TYPES
            return _facts_of(original if sound else replace(original, content_type=OPAQUE))
        if found.reencoded is not None and self._remove_metadata:
            original = await self._store_rendition(file, original, found.reencoded)
        facts = replace(
            _facts_of(original),
            width=found.width,
            height=found.height,
            duration_ms=round((found.duration_s or 0) * 1000),
            thumbhash=found.thumbhash,
        )
        return replace(facts, variants=await self._store_variants(file, found))

    async def _store_rendition(self, file: MediaFile, original: _Original, rendition: Rendition) -> _Original:
        """Store a re-encoded picture as the original."""
        reencoded = replace(original, content_type=rendition.content_type)
        return await self._store_original(file, reencoded, _chunk_of(rendition.data), len(rendition.data))

    async def _store_variants(self, file: MediaFile, found: PictureFacts) -> dict[Variant, StoredVariant]:
        variants = {}
        for variant, picture in ((Variant.THUMBNAIL, found.thumbnail), (Variant.PREVIEW, found.preview)):
            if picture is not None:
                size_bytes = len(picture.data)
                await self._objects.put(variant_key(file, variant), size_bytes, _chunk_of(picture.data))
                variants[variant] = StoredVariant(picture.content_type, size_bytes, picture.width, picture.height)
        return variants

    async def _add_dimensions(self, original: _Original, facts: MediaFacts) -> MediaFacts:
        """Return the facts of a video with its dimensions and duration, as far as its container tells them."""
        try:
            found = await parse_ranges(
                read_container(original.content_type, original.size_bytes), partial(self._read_range, original.key)
            )
        except Malformed as error:
            log.info("container cannot be read", type=original.content_type, error=str(error))
            return facts
        if found is None:
            return facts
        kind = facts.kind if found.has_video else MediaKind.AUDIO
        return replace(facts, kind=kind, width=found.width, height=found.height, duration_ms=found.duration_ms)

    async def _read_range(self, key: str, wanted: ByteRange) -> bytes:
        return b"".join([chunk async for chunk in self._stream_range(key, wanted)])

    async def _stream_range(self, key: str, wanted: ByteRange) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._objects.read(key, wanted.offset, wanted.length)) as chunks:
            async for chunk in chunks:
                yield chunk


async def _chunk_of(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


def _facts_of(original: _Original) -> MediaFacts:
    return MediaFacts(
        _kind_of(original.content_type),
        original.content_type,
        original.size_bytes,
        original.sha256,
        rewritten=original.rewritten,
    )


def _kind_of(content_type: str) -> MediaKind:
    """Return the kind of a file; a picture that no worker decodes is a plain file."""
    if content_type in PICTURE_TYPES:
        return MediaKind.IMAGE
    if content_type.startswith("video/"):
        return MediaKind.VIDEO
    return MediaKind.AUDIO if content_type.startswith("audio/") else MediaKind.FILE


def _is_permitted(content_type: str, types: Sequence[str]) -> bool:
    return not types or any(fnmatchcase(content_type, pattern) for pattern in types)
