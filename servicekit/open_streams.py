"""The open streams of a server: bounded per device, and ended when their token expires or the server drains."""

from __future__ import annotations

import asyncio
import collections
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from servicekit.auth import Claims
from servicekit.clock import Clock
from servicekit.errors import RateLimited, ServerDraining, Unauthenticated
from servicekit.failure import Failure
from servicekit.tasks import on_task_end

# Streams of one device on a server at once.
MAX_DEVICE_STREAMS: Final = 16
# A stream may stay open this long after its token has expired, so that the device can open another one first.
EXPIRY_GRACE_S: Final = 30.0
# The retry delay of a device with too many streams: its superseded ones end within this time.
STREAM_RETRY_S: Final = 5.0
# A client connects again after a random delay in this range, so that not all clients of a server do so at once.
DRAIN_RETRY_RANGE_S: Final = (0.1, 1.0)


class StreamLimiter:
    """Limits the concurrent streams of a device to `max_streams`, with those in handshake and those that are ending."""

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._open: collections.Counter[str] = collections.Counter()

    def count_stream(self, device_id: str) -> None:
        """Count a stream of a device until the current task, which serves it, ends: the client has then read its end.

        Raises RateLimited if the device has too many.
        """
        if self._open[device_id] >= self._max_streams:
            raise RateLimited("this device has too many open streams", retry_after=STREAM_RETRY_S)
        self._open[device_id] += 1
        on_task_end(partial(self._end_stream, device_id))

    def _end_stream(self, device_id: str) -> None:
        self._open[device_id] -= 1
        if not self._open[device_id]:
            del self._open[device_id]


class OpenStreams:
    """The open streams of a server.

    A device may have MAX_DEVICE_STREAMS. A stream ends with TOKEN_EXPIRED EXPIRY_GRACE_S after its token has expired,
    and with ServerDraining once the server drains.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limiter = StreamLimiter(MAX_DEVICE_STREAMS)
        self._deadlines: set[asyncio.Timeout] = set()
        self._draining = False

    def drain(self, seconds: float) -> None:
        """End each stream at a random time within `seconds`, at the latest with its token, and refuse new ones."""
        self._draining = True
        now = asyncio.get_running_loop().time()
        # A stream that is ending already keeps its deadline, which can no longer be changed.
        for deadline in (each for each in self._deadlines if not each.expired()):
            # Not for cryptography: the times only have to differ.
            end = now + random.uniform(0, seconds)  # noqa: S311
            expiry = deadline.when()
            deadline.reschedule(end if expiry is None else min(end, expiry))

    @asynccontextmanager
    async def track_stream(self, claims: Claims | None) -> AsyncIterator[None]:
        """Count a stream as open within the block. Raise RateLimited, TOKEN_EXPIRED or ServerDraining."""
        if self._draining:
            raise _draining()
        if claims is not None:
            self._limiter.count_stream(claims.device_id)
        deadline = asyncio.timeout(_seconds_left(claims, self._clock))
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
            raise self._end_failure() from None

    def _end_failure(self) -> Failure:
        return _draining() if self._draining else Unauthenticated("the token has expired", reason="TOKEN_EXPIRED")


def _seconds_left(claims: Claims | None, clock: Clock) -> float | None:
    return claims.expires_at + EXPIRY_GRACE_S - clock.now_ms() / 1000 if claims is not None else None


def _draining() -> ServerDraining:
    retry_after = random.uniform(*DRAIN_RETRY_RANGE_S)  # noqa: S311  not for cryptography
    return ServerDraining("the server is shutting down; connect again", retry_after=retry_after)
