"""The limit of concurrent handshakes of a server.

After a server died, all its devices connect to the others at once. A handshake beyond the limit waits, because that
costs less than a rejected device that connects again. Beyond the bound of waiting handshakes a device is rejected.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

from prometheus_client import Counter, Gauge

from servicekit.errors import ServerBusy

# A rejected device retries after a random delay in this range, so that rejected devices do not return together.
HANDSHAKE_RETRY_RANGE_S: Final = (0.2, 1.2)
# Waiting handshakes per handshake in progress, and how long each may wait: less than devices wait for `welcome`.
WAITING_PER_SLOT: Final = 10
SLOT_TIMEOUT_S: Final = 3.0

_in_progress = Gauge("parley_handshakes", "Handshakes in progress")
_refused = Counter("parley_handshakes_refused", "Handshakes rejected because too many were waiting")


class Handshake:
    """A handshake in progress: from its slot until the device has received its changes or is gone."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots = slots
        self._released = False
        _in_progress.inc()

    def release(self) -> None:
        """Release the slot; later calls have no effect."""
        if not self._released:
            self._released = True
            self._slots.release()
            _in_progress.dec()


class HandshakeLimiter:
    """At most `max_concurrent` handshakes in progress, and WAITING_PER_SLOT times as many waiting."""

    def __init__(self, max_concurrent: int) -> None:
        self._slots = asyncio.Semaphore(max_concurrent)
        self._queue_room = max_concurrent * WAITING_PER_SLOT

    async def acquire(self) -> Handshake:
        """Wait for a slot, and return the handshake that holds it.

        Raises ServerBusy if too many are waiting, or after SLOT_TIMEOUT_S.
        """
        if self._slots.locked() and self._queue_room <= 0:
            raise _busy()
        self._queue_room -= 1
        try:
            async with asyncio.timeout(SLOT_TIMEOUT_S):
                await self._slots.acquire()
        except TimeoutError:
            raise _busy() from None
        finally:
            self._queue_room += 1
        return Handshake(self._slots)


def _busy() -> ServerBusy:
    _refused.inc()
    # Not for cryptography: the delays only have to differ.
    retry_after = random.uniform(*HANDSHAKE_RETRY_RANGE_S)  # noqa: S311
    return ServerBusy("too many devices are connecting; connect again later", retry_after=retry_after)
