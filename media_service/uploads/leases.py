"""The lease of a file that is being completed: one call at a time has it, for as long as it works."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import uuid_utils

from media_service.errors import MediaNotReady
from media_service.model.media import MediaFile
from media_service.model.media_store import MediaStore
from servicekit.clock import Clock
from servicekit.failure import Failure

# A lease is extended this many times before it would expire.
RENEWALS: Final = 3
# The delay after which a client asks again while another call completes the file.
BUSY_RETRY_S: Final = 1.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class LeasedFile:
    """An UPLOADING file, as it was when the lease began, and the holder of the lease."""

    file: MediaFile
    holder: str


class Leases:
    """Runs work on files under leases. A server that has died keeps a file for at most `lease_s` seconds."""

    def __init__(self, store: MediaStore, clock: Clock, lease_s: float) -> None:
        self._store = store
        self._clock = clock
        self._lease_s = lease_s

    async def run(self, media_id: str, work: Callable[[LeasedFile], Awaitable[Result]]) -> Result:
        """Return the result of `work`, which runs while this call has the lease of an UPLOADING file.

        Raise MediaNotReady if another call has it, or if the lease is lost meanwhile; then `work` is cancelled. Raise
        the failure of `work`, and StoreUnavailable.
        """
        holder = uuid_utils.uuid4().hex
        leased = LeasedFile(await self._extend(media_id, holder), holder)
        task = asyncio.ensure_future(work(leased))
        try:
            while not (await asyncio.wait([task], timeout=self._lease_s / RENEWALS))[0]:
                await self._extend(media_id, holder)
            return task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])
            # A lease that cannot be released expires.
            with suppress(Failure):
                await self._store.release(media_id, holder)

    async def _extend(self, media_id: str, holder: str) -> MediaFile:
        now_ms = self._clock.now_ms()
        file = await self._store.lease(media_id, holder, now_ms, now_ms + round(self._lease_s * 1000))
        if file is None:
            raise MediaNotReady("the file is being completed by another call", retry_after=BUSY_RETRY_S)
        return file
