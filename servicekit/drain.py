"""The drain of the streams of a stopping server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from servicekit.errors import ServerDraining

# A client connects again after a random delay in this range, so that the clients of a server do not return together.
RETRY_RANGE_S: Final = (0.1, 1.0)


class StreamDrain:
    """The open streams of a server, which end with ServerDraining once the server drains."""

    def __init__(self) -> None:
        self._deadlines: set[asyncio.Timeout] = set()
        self._draining = False

    def begin(self, seconds: float) -> None:
        """End each stream at a random time within `seconds`, and refuse new ones."""
        self._draining = True
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            # Not for cryptography: the times only have to differ.
            deadline.reschedule(now + random.uniform(0, seconds))  # noqa: S311

    @asynccontextmanager
    async def track_stream(self) -> AsyncIterator[None]:
        """Count a stream as open within the block. Raise ServerDraining, also in the block, if the server drains."""
        if self._draining:
            raise _draining()
        deadline = asyncio.timeout(None)
        try:
            async with deadline:
                self._deadlines.add(deadline)
                try:
                    yield
                finally:
                    self._deadlines.discard(deadline)
        except TimeoutError:
            # A servicer may raise a TimeoutError of its own.
            if not deadline.expired():
                raise
            raise _draining() from None


def _draining() -> ServerDraining:
    retry_after = random.uniform(*RETRY_RANGE_S)  # noqa: S311  not for cryptography
    return ServerDraining("the server is shutting down; connect again", retry_after=retry_after)
