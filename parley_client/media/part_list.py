"""The parts of one upload, with signed URLs that are renewed when they expire."""

from __future__ import annotations

import asyncio

from parley.media.v1 import media_pb2
from parley_client.calls import AuthenticatedCalls
from parley_client.clock import ServerClock

PAGE_SIZE = 1000
# A URL that expires so soon is renewed before it is used.
RENEWAL_LEAD_S = 10.0


class PartList:
    """The parts of the upload `media_id`, by number. `load` fills it, or `add_page` with what CreateUpload returned."""

    def __init__(self, calls: AuthenticatedCalls, clock: ServerClock, media_id: str) -> None:
        self.media_id = media_id
        self._calls = calls
        self._clock = clock
        self._parts: dict[int, media_pb2.Part] = {}
        self._lock = asyncio.Lock()

    @property
    def numbers(self) -> list[int]:
        """The numbers of all parts."""
        return sorted(self._parts)

    def get(self, number: int) -> media_pb2.Part:
        """Return a part as it was when it was listed."""
        return self._parts[number]

    def add_page(self, page: media_pb2.CreateUploadResponse | media_pb2.ListUploadPartsResponse) -> None:
        """Add the parts of a page, or replace them."""
        self._parts |= {part.part_number: part for part in page.parts}

    async def load(self, page_token: str = "") -> None:
        """List the parts from a page on, with fresh URLs. Raises ParleyError: NotFound if the upload is over."""
        request = media_pb2.ListUploadPartsRequest(media_id=self.media_id, page_size=PAGE_SIZE, page_token=page_token)
        while True:
            page = await self._calls.call(lambda channel: channel.media.ListUploadParts, request)
            self.add_page(page)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def renew(self, stale: media_pb2.Part) -> None:
        """List all parts again, once for concurrent callers, unless `stale` has been replaced. Raises ParleyError."""
        async with self._lock:
            if self._parts[stale.part_number] is stale:
                await self.load()

    def is_expiring(self, part: media_pb2.Part) -> bool:
        """Return True if the URL of a part expires within seconds."""
        return part.url_expire_time.ToMilliseconds() / 1000 < self._clock.now() + RENEWAL_LEAD_S
