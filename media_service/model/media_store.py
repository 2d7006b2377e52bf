"""The port to the records of files. Every change names the state that it starts from, so that of two one is refused."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from media_service.model.media import MediaFacts, MediaFile, MediaState
from servicekit.failure import Failure


@dataclass(frozen=True, slots=True)
class Usage:
    """The storage that a user takes: files, their bytes, and unfinished uploads."""

    files: int
    size_bytes: int
    uploads: int


class MediaStore(Protocol):
    """The records of files. Every method raises StoreUnavailable. Times are in milliseconds since 1970."""

    async def insert(self, file: MediaFile) -> MediaFile:
        """Insert a file in UPLOADING and return it; return the file that the same request created before, if any."""

    async def find(self, media_id: str) -> MediaFile | None:
        """Return a file in any state."""

    async def find_all(self, media_ids: Collection[str]) -> dict[str, MediaFile]:
        """Return the files that exist, in any state, by id."""

    async def find_identical(self, file: MediaFile, sha256: bytes) -> MediaFile | None:
        """Return a READY file of the same owner that was sent with the same bytes and is equally opaque."""

    async def load_usage(self, owner_id: str) -> Usage:
        """Return what a user stores now. Bytes that several files share count once."""

    async def list_owned(self, owner_id: str, after: str, limit: int) -> list[MediaFile]:
        """Return the visible files of a user with ids after `after`, in order of id."""

    async def set_upload_id(self, media_id: str, upload_id: str) -> bool:
        """Record the id of the upload in parts of an UPLOADING file; False if it has one, or is in another state."""

    async def lease(self, media_id: str, holder: str, now_ms: int, until_ms: int) -> MediaFile | None:
        """Give `holder` the sole right to complete an UPLOADING file, or extend it; None if another one has it.

        Each new holder adds to the attempts of the file. A holder keeps the lease of a file that it has finished or
        removed until it releases it; any other removal ends the lease.
        """

    async def release(self, media_id: str, holder: str) -> None:
        """End the lease of `holder`."""

    async def adopt(self, media_id: str, holder: str, base_id: str) -> bool:
        """Set the file whose objects hold the bytes; False if `holder` has lost the lease."""

    async def set_facts(self, media_id: str, holder: str, sha256: bytes, facts: MediaFacts) -> bool:
        """Record the digest of the sent bytes (empty: unknown) and the facts; False if `holder` has lost the lease."""

    async def finish(
        self, media_id: str, holder: str, state: MediaState, *, stored_bytes: int, due_ms: int
    ) -> MediaFile | None:
        """Move an UPLOADING file to `state` and return it; None if `holder` has lost the lease.

        `stored_bytes` counts for the quota of the owner.
        """

    async def decide_scan(self, media_id: str, state: MediaState, *, due_ms: int, expire_ms: int) -> bool:
        """Move a SCANNING file to READY or REJECTED; False if it is in another state."""

    async def claim(self, media_ids: Collection[str], until_ms: int) -> set[str]:
        """Keep READY files until `until_ms`, and remove the marks of `take_due`. Return those that are READY."""

    async def remove(
        self,
        media_id: str,
        states: Collection[MediaState],
        now_ms: int,
        failure: Failure | None = None,
        holder: str | None = None,
    ) -> bool:
        """Move a file from one of `states` to REMOVED, due at once; False if it is in none of them.

        With a `holder`, False as well if that has lost the lease.
        """

    async def reset_attempts(self, media_id: str) -> None:
        """Set the attempts of a file to 1."""

    async def expire(self, media_id: str, now_ms: int) -> bool:
        """Move an UPLOADING file that nobody completes to REMOVED, due at once; False if it is leased or complete."""

    async def take_due(
        self, states: Collection[MediaState], mark: str, now_ms: int, until_ms: int, limit: int
    ) -> list[MediaFile]:
        """Return files in `states` that are due, which get `mark` and are due again at `until_ms`.

        `mark` is unique to the call. Of two concurrent calls only one gets a file.
        """

    async def postpone(self, media_ids: Collection[str], mark: str, due_ms: int) -> None:
        """Remove `mark` from files, where they still have it, and make them due at `due_ms`."""

    async def remove_marked(self, media_ids: Collection[str], mark: str, now_ms: int) -> int:
        """Move the READY files that still have `mark` and are not claimed to REMOVED, due at once; return how many."""

    async def list_users_of(self, base_id: str, media_id: str) -> Sequence[MediaFile]:
        """Return the files other than `media_id` that use the objects of `base_id` and are not REMOVED."""

    async def count_shared(self, base_id: str) -> None:
        """Let one of the complete files that use the objects of `base_id` count their bytes, if none does."""

    async def delete(self, media_id: str) -> None:
        """Delete the record of a REMOVED file."""
