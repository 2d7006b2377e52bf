"""The two sources of a file's bytes: the `Download` call for small files, and a signed URL for larger ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from parley.media.v1 import media_pb2
from parley_client.calls import AuthenticatedCalls
from parley_client.channel import timed_out
from parley_client.clock import ServerClock
from parley_client.media.facts import MediaVariant
from parley_client.media.object_store import IDLE_TIMEOUT_S, ObjectStore, StoreBusy, UrlExpired

# A URL that expires so soon is renewed before it is used.
RENEWAL_LEAD_S = 10.0


class ByteSource(Protocol):
    """A source of the bytes of one file."""

    def read(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """Yield `length` bytes, or fewer if the source fails. Raises ParleyError and StoreBusy."""


class CallSource:
    """The bytes of a file through the `Download` call, up to 10 MiB at once."""

    def __init__(self, calls: AuthenticatedCalls, media_id: str, variant: MediaVariant) -> None:
        self._calls = calls
        self._media_id = media_id
        self._variant = variant

    async def read(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """Yield a range of the file in chunks."""
        request = media_pb2.DownloadRequest(
            media_id=self._media_id, variant=self._variant.value, offset_bytes=offset, length_bytes=length
        )
        async with aclosing(self._calls.stream(lambda channel: channel.media.Download, request)) as frames:
            while True:
                try:
                    async with asyncio.timeout(IDLE_TIMEOUT_S):
                        frame = await anext(frames, None)
                except TimeoutError:
                    raise timed_out("Download", IDLE_TIMEOUT_S) from None
                if frame is None:
                    return
                if frame.chunk:
                    yield frame.chunk


class UrlSource:
    """The bytes of a file at its signed URL, which is renewed when it expires."""

    def __init__(
        self,
        calls: AuthenticatedCalls,
        clock: ServerClock,
        store: ObjectStore,
        media_id: str,
        variant: MediaVariant,
    ) -> None:
        self._calls = calls
        self._clock = clock
        self._store = store
        self._request = media_pb2.GetDownloadUrlRequest(media_id=media_id, variant=variant.value)
        self._signed = media_pb2.GetDownloadUrlResponse()
        self._lock = asyncio.Lock()

    async def read(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """Yield a range of the file in blocks."""
        signed = await self._signed_url()
        try:
            async with aclosing(self._store.get(signed.url, offset, length)) as blocks:
                async for block in blocks:
                    yield block
        except UrlExpired as error:
            if self._signed is signed:
                self._signed = media_pb2.GetDownloadUrlResponse()
            raise StoreBusy("the store refuses the signed URL") from error

    async def _signed_url(self) -> media_pb2.GetDownloadUrlResponse:
        async with self._lock:
            if self._signed.expire_time.ToMilliseconds() / 1000 < self._clock.now() + RENEWAL_LEAD_S:
                self._signed = await self._calls.call(lambda channel: channel.media.GetDownloadUrl, self._request)
            return self._signed
