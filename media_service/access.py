"""Access to files: the directory decides, and its permissions are kept for seconds.

Only permissions are kept: a user who has just received a message with a file may download it at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cachetools import TTLCache

from media_service.errors import media_not_found
from media_service.model.directory import Directory
from media_service.model.media import MediaFile, MediaState
from media_service.model.media_store import MediaStore
from servicekit.clock import Clock

# A user who loses access is refused at the latest after this time.
PERMISSION_LIFETIME_S: Final = 5.0
MAX_PERMISSIONS: Final = 100_000


class MediaAccess:
    """Finds the files that users may see. A permission of the directory holds for PERMISSION_LIFETIME_S.

    Every method raises StoreUnavailable and ServiceUnavailable: without an answer nobody but the uploader gets a file.
    """

    def __init__(self, store: MediaStore, directory: Directory, clock: Clock) -> None:
        self._store = store
        self._directory = directory
        self._allowed = _permissions(clock.monotonic)

    async def find_visible(self, user_id: str, media_id: str) -> MediaFile:
        """Return a file that the user may see. Raise MediaNotFound."""
        file = await self._store.find(media_id)
        if file is None or not await self._may_see(user_id, file):
            raise media_not_found()
        return file

    async def find_owned(self, user_id: str, media_id: str) -> MediaFile:
        """Return a file that the user uploaded, in any state. Raise MediaNotFound."""
        file = await self._store.find(media_id)
        if file is None or file.owner_id != user_id:
            raise media_not_found()
        return file

    async def _may_see(self, user_id: str, file: MediaFile) -> bool:
        if file.owner_id == user_id:
            return file.state is not MediaState.REMOVED
        if file.state is not MediaState.READY:
            return False
        key = f"{user_id} {file.media_id}"
        if key in self._allowed:
            return True
        allowed = await self._directory.is_allowed(user_id, file.media_id)
        if allowed:
            self._allowed[key] = True
        return allowed


def _permissions(monotonic: Callable[[], float]) -> TTLCache[str, bool]:
    return TTLCache(MAX_PERMISSIONS, PERMISSION_LIFETIME_S, timer=monotonic)
