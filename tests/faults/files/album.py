"""Users who exchange files in two groups of their own, during faults."""

from __future__ import annotations

import asyncio
import hashlib
import time
from contextlib import suppress
from random import Random
from typing import Final

import grpc

from tests.faults.files.audit import Holdings, take_stock
from tests.faults.files.journal import FileJournal
from tests.faults.files.times import SETTLED_S
from tests.faults.files.uploader import Uploader
from tests.raw.media import RawMedia
from tests.raw.world import World

UPLOADERS: Final = 3
# Of each uploader, on average.
PAUSE_S: Final = 0.8
DOWNLOAD_S: Final = 10.0
# From one look at the system to the next, until it has settled.
CHECK_S: Final = 0.5


class Album:
    """Three uploaders, members of two groups; an async context manager."""

    def __init__(self, world: World, random: Random) -> None:
        self.journal = FileJournal()
        self.uploaders: list[Uploader] = []
        self._world = world
        self._random = random
        self._groups: list[str] = []

    async def __aenter__(self) -> Album:
        names = [f"uploader-{number}" for number in range(1, UPLOADERS + 1)]
        devices = await self._world.users(*names)
        self._groups = [await devices[0].group(title, devices[1:]) for title in ("album", "archive")]
        channel = self._world.channel(self._world.stack.door)
        for name, device in zip(names, devices, strict=True):
            media = RawMedia(device, channel)
            self.uploaders.append(Uploader(name, media, self._groups, self.journal, self._random))
        return self

    async def __aexit__(self, *_: object) -> None:
        for uploader in self.uploaders:
            await uploader.media.close()

    @property
    def errors(self) -> list[str]:
        """Return what uploaders were told that they should not have been."""
        return [f"{uploader.name}: {error}" for uploader in self.uploaders for error in uploader.errors]

    async def settle(self, timeout: float = SETTLED_S) -> tuple[Holdings, float]:
        """Wait until nothing is left that nothing needs, or `timeout`; return what there is, and the seconds."""
        began, holdings = time.monotonic(), await self.take_stock()
        while holdings.surplus and time.monotonic() < began + timeout:
            # To take stock is work for the servers, which have enough of it.
            await asyncio.sleep(CHECK_S)
            holdings = await self.take_stock()
        seconds = time.monotonic() - began
        await self.download_all(holdings)
        return holdings, seconds

    async def take_stock(self) -> Holdings:
        """Return what the system holds now."""
        return await take_stock(self._world.stack, self.uploaders[0].device, self._groups)

    async def download_all(self, holdings: Holdings) -> None:
        """Download every file to which a message refers, as every member, and record the digests."""
        for uploader in self.uploaders:
            for media_id in sorted(holdings.referenced):
                digest = b""
                with suppress(grpc.aio.AioRpcError, TimeoutError):
                    async with asyncio.timeout(DOWNLOAD_S):
                        digest = hashlib.sha256((await uploader.media.download(media_id)).data).digest()
                holdings.downloads[media_id, uploader.name] = digest
