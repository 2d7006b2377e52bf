"""How many devices connect at once: a server that all devices of another come to serves those it has first.

The others wait for their turn, which costs less than to send them away and have them come again; a crowd that is larger
still is sent away.
"""

from __future__ import annotations

import asyncio
import collections
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import Counter, Gauge

from chat_service.errors import RateLimited, ServerBusy

# Those who are sent away come again at moments of their own.
HANDSHAKE_RETRY_S: Final = (0.2, 1.2)
# So many wait for each that is under way; and so long, which is less than devices wait for `welcome`.
WAITING_PER_SLOT: Final = 10
WAIT_S: Final = 3.0

_under_way = Gauge("parley_handshakes", "Devices that connect just now")
_refused = Counter("parley_handshakes_refused", "Devices that were asked to come again because too many connected")


class Handshake:
    """A device that connects; under way until it has been told what changed, or is gone."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._slots = places
        self._over = False
        _under_way.inc()

    def release(self) -> None:
        """It is over; again changes nothing."""
        if not self._over:
            self._over = True
            self._slots.release()
            _under_way.dec()


class HandshakeLimiter:
    """At most `at_once` are under way, and WAITING times as many wait."""

    def __init__(self, at_once: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._room = at_once * WAITING_PER_SLOT

    async def acquire(self) -> Handshake:
        """Let a device begin when it is its turn. Raises ServerBusy."""
        if self._slots.locked() and self._room <= 0:
            raise _busy()
        self._room -= 1
        try:
            async with asyncio.timeout(WAIT_S):
                await self._slots.acquire()
        except TimeoutError:
            raise _busy() from None
        finally:
            self._room += 1
        return Handshake(self._slots)


def _busy() -> ServerBusy:
    _refused.inc()
    # Not for cryptography: the moments shall only differ.
    return ServerBusy("too many devices connect at the moment", retry_after=random.uniform(*HANDSHAKE_RETRY_S))  # noqa: S311


# The earlier ones, which the newest supersedes, end meanwhile.
STREAM_RETRY_S: Final = 5.0


class StreamLimiter:
    """At most `most` of a device at once, those that have not said hello and those that are ending included."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: collections.Counter[str] = collections.Counter()

    @contextmanager
    def count_stream(self, device_id: str) -> Iterator[None]:
        """A stream of a device, from its first moment to its last. Raises RateLimited."""
        if self._open[device_id] >= self._most:
            raise RateLimited("this device has too many streams open", retry_after=STREAM_RETRY_S)
        self._open[device_id] += 1
        try:
            yield
        finally:
            self._open[device_id] -= 1
            if not self._open[device_id]:
                del self._open[device_id]
