"""Claims: files that a user is about to refer to are kept until the reference is durable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from media_service.errors import MediaNotReady, MediaRejected, media_not_found
from media_service.model.directory import Directory
from media_service.model.media import MediaFile, MediaState
from media_service.model.media_store import MediaStore
from servicekit.clock import Clock
from servicekit.failure import Failure
from servicekit.tasks import gather_limited

CHECKS_AT_ONCE: Final = 10


class Claims:
    """Claims files for users, for `claim_s` seconds: longer than it takes until a reference is durable or refused.

    Methods raise StoreUnavailable and ServiceUnavailable.
    """

    def __init__(self, store: MediaStore, directory: Directory, clock: Clock, claim_s: float) -> None:
        self._claim_ms = round(claim_s * 1000)
        self._store = store
        self._directory = directory
        self._clock = clock

    async def claim(self, user_id: str, media_ids: Sequence[str]) -> list[MediaFile | Failure]:
        """Return each file, READY and kept for `claim_s`, or the refusal: not found, not ready, or rejected.

        The right to see a file is asked of the directory anew for each claim.
        """
        files = await self._store.find_all(media_ids)
        checked = await gather_limited(
            partial(self._check_access, user_id, files), list(dict.fromkeys(media_ids)), limit=CHECKS_AT_ONCE
        )
        results = dict(zip(dict.fromkeys(media_ids), checked, strict=True))
        allowed = [media_id for media_id, result in results.items() if isinstance(result, MediaFile)]
        claimed = await self._store.claim(allowed, self._clock.now_ms() + self._claim_ms) if allowed else set()
        # The collector may have removed a file since it was found.
        lost = {media_id: media_not_found() for media_id in allowed if media_id not in claimed}
        return [lost.get(media_id) or results[media_id] for media_id in media_ids]

    async def _check_access(self, user_id: str, files: Mapping[str, MediaFile], media_id: str) -> MediaFile | Failure:
        file = files.get(media_id)
        if file is None or file.state is MediaState.REMOVED:
            return media_not_found()
        if file.owner_id != user_id and not (
            file.state is MediaState.READY and await self._directory.is_allowed(user_id, media_id)
        ):
            return media_not_found()
        return file if file.state is MediaState.READY else not_ready(file)


def not_ready(file: MediaFile) -> Failure:
    """Return the error for a file that is not READY; only its uploader gets it."""
    if file.state is MediaState.REJECTED:
        return MediaRejected("the scanner of this deployment found harmful contents in the file")
    return MediaNotReady("the file is still being uploaded or scanned")
