"""Uploads of users: begun within their limits, listed, and aborted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import uuid_utils

from media_service.access import MediaAccess
from media_service.errors import QuotaExceeded, field_invalid, media_not_found
from media_service.model.media import FileDescription, MediaFile, MediaState, sent_key
from media_service.model.media_store import MediaStore, Usage
from media_service.model.object_store import ObjectNotFound, ObjectStore, StoredPart
from servicekit.clock import Clock
from servicekit.errors import ContentTooLarge, RequestIdReused

# A user who exceeds the quota may try again after this time: nothing frees space by itself sooner.
QUOTA_RETRY_S: Final = 3600.0
# Missing parts that an error names.
MAX_SHOWN_PARTS: Final = 20


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """The limits of a file, and of the files of a user; sizes in bytes, `lifetime_s` of an upload in seconds."""

    streamed_bytes: int
    file_bytes: int
    quota_bytes: int
    quota_files: int
    quota_uploads: int
    lifetime_s: float


class Uploads:
    """Begins uploads, and lists and frees their parts. Methods raise StoreUnavailable."""

    def __init__(
        self, store: MediaStore, objects: ObjectStore, access: MediaAccess, limits: UploadLimits, clock: Clock
    ) -> None:
        self._store = store
        self._objects = objects
        self._access = access
        self._limits = limits
        self._clock = clock

    async def create(
        self, owner_id: str, request_id: str, description: FileDescription, *, in_parts: bool
    ) -> MediaFile:
        """Return a new file in UPLOADING, or the file that the same request created before, in any state.

        Raise ContentTooLarge, QuotaExceeded, and RequestIdReused if the request differs from the earlier one. A file
        that could not be completed raises its failure again; one that was removed is not found.
        """
        self._check_size(description.size_bytes, in_parts=in_parts)
        new = self._new_file(owner_id, UUID(request_id).bytes, description, in_parts=in_parts)
        file = await self._store.insert(new)
        is_new = file.media_id == new.media_id
        if not is_new:
            file = _repeated(file, new)
        if file.state is MediaState.UPLOADING and not file.upload_id:
            # Also for a repeat: the first call may have been cancelled before it came here.
            await self._check_quota(file, remove=is_new)
        return file

    async def _check_quota(self, file: MediaFile, *, remove: bool) -> None:
        """Raise QuotaExceeded if the files of the owner, this one included, exceed the quota."""
        if (exceeded := self._quota_failure(await self._store.load_usage(file.owner_id))) is not None:
            if remove:
                # The record stays for a while: another call of the same request may already be storing objects.
                await self._store.remove(file.media_id, [MediaState.UPLOADING], self._clock.now_ms(), exceeded)
            raise exceeded

    async def begin_parts(self, file: MediaFile) -> MediaFile:
        """Return the file with an upload in parts in the store, which is begun unless there is one.

        Raise MediaNotFound if the file was removed meanwhile.
        """
        if file.upload_id or file.state is not MediaState.UPLOADING:
            return file
        key = sent_key(file.media_id)
        upload_id = await self._objects.create_parts(key)
        # A concurrent call may have been first, and the file may be complete, if this server was frozen meanwhile. An
        # upload that nobody knows, because this server died, is aborted when the file is completed or removed.
        if not await self._store.set_upload_id(file.media_id, upload_id):
            await self._objects.abort_parts(key, upload_id)
        found = await self._store.find(file.media_id)
        if found is None or found.state is MediaState.REMOVED:
            raise media_not_found()
        return found

    async def list_stored(self, file: MediaFile) -> set[int]:
        """Return the numbers of the parts that the store has in their right sizes; all of a complete file."""
        if file.state is not MediaState.UPLOADING:
            return set(range(1, file.part_count + 1))
        if not file.upload_id:
            return set()
        try:
            parts = await self._objects.list_parts(sent_key(file.media_id), file.upload_id)
        except ObjectNotFound:
            # The parts have been joined, and the file is being completed.
            return set(range(1, file.part_count + 1))
        return {part.number for part in select_valid(file, parts)}

    async def find_upload(self, user_id: str, media_id: str) -> MediaFile:
        """Return a file that the user uploads or has uploaded in parts. Raise MediaNotFound."""
        file = await self._access.find_owned(user_id, media_id)
        if file.state is MediaState.REMOVED or not file.in_parts:
            raise media_not_found()
        return file

    async def abort(self, user_id: str, media_id: str) -> None:
        """Remove an unfinished upload and its parts; a complete file stays. Raise MediaNotFound."""
        file = await self._access.find_owned(user_id, media_id)
        if await self._store.remove(media_id, [MediaState.UPLOADING], self._clock.now_ms()):
            await self._objects.abort_parts(sent_key(file.media_id))

    def _check_size(self, size_bytes: int, *, in_parts: bool) -> None:
        most = self._limits.file_bytes if in_parts else self._limits.streamed_bytes
        if size_bytes > most:
            hint = "" if in_parts else "; upload a larger one in parts, by CreateUpload"
            raise ContentTooLarge(f"a file may have at most {most} bytes here, this one has {size_bytes}{hint}")

    def _quota_failure(self, usage: Usage) -> QuotaExceeded | None:
        limits = self._limits
        if usage.size_bytes > limits.quota_bytes:
            message = f"your files may have {limits.quota_bytes} bytes together; this one would exceed it"
        elif usage.files > limits.quota_files:
            message = f"you have {limits.quota_files} files, as many as you may have"
        elif usage.uploads > limits.quota_uploads:
            message = (
                f"you have {limits.quota_uploads} unfinished uploads, as many as you may have; complete or abort one"
            )
        else:
            return None
        return QuotaExceeded(message, retry_after=QUOTA_RETRY_S)

    def _new_file(self, owner_id: str, request_id: bytes, description: FileDescription, *, in_parts: bool) -> MediaFile:
        media_id, now_ms = uuid_utils.uuid4().hex, self._clock.now_ms()
        return MediaFile(
            media_id=media_id,
            owner_id=owner_id,
            request_id=request_id,
            state=MediaState.UPLOADING,
            description=description,
            create_ms=now_ms,
            expire_ms=now_ms + round(self._limits.lifetime_s * 1000),
            base_id=media_id,
            in_parts=in_parts,
        )


def check_complete(file: MediaFile, stored: set[int]) -> None:
    """Raise Invalid if a part is missing."""
    if missing := [number for number in range(1, file.part_count + 1) if number not in stored]:
        shown = ", ".join(map(str, missing[:MAX_SHOWN_PARTS])) + (" and others" if missing[MAX_SHOWN_PARTS:] else "")
        raise field_invalid("media_id", f"these parts are not stored: {shown}")


def select_valid(file: MediaFile, parts: Sequence[StoredPart]) -> list[StoredPart]:
    """Return the parts that belong to the upload and have their right sizes."""
    return [
        part
        for part in parts
        if 1 <= part.number <= file.part_count and part.size_bytes == file.part_bytes(part.number)
    ]


def _repeated(file: MediaFile, repeat: MediaFile) -> MediaFile:
    if (file.description, file.in_parts) != (repeat.description, repeat.in_parts):
        raise RequestIdReused("this request_id was used before, with another file")
    if file.failure is not None:
        raise file.failure
    if file.state is MediaState.REMOVED:
        raise media_not_found()
    return file
