"""The reader of a report's answers: it tells the silence of a presence server from a stall of this process."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from servicekit.clock import Clock

# A presence server answers every renewal, which comes every 2 s, and every second while it takes more. One that is
# silent for SILENT_TICKS of TICK_S, 5 s, is left, well before the lease ends.
TICK_S: Final = 0.5
SILENT_TICKS: Final = 10


class FrameReader:
    """Reads the frames of `call`, one at a time.

    Silence is counted in ticks of the event loop: a stall of this process counts as one tick, however long it was,
    because the answers that arrived meanwhile have not been read yet.
    """

    def __init__(self, call: Any, clock: Clock) -> None:
        self._call = call
        self._clock = clock

    async def read(self) -> Any:
        """Return the next frame, or grpc.aio.EOF.

        Raise what the call raises, and TimeoutError once the presence server is silent. Then, and if this is cancelled,
        the call is cancelled.
        """
        reading = asyncio.ensure_future(self._call.read())
        try:
            for _ in range(SILENT_TICKS):
                await self._wait_tick(reading)
                if reading.done():
                    return reading.result()
        finally:
            reading.cancel()
        raise TimeoutError("the presence server does not answer")

    async def _wait_tick(self, reading: asyncio.Future[Any]) -> None:
        """Wait for the frame, for TICK_S at most."""
        tick = asyncio.ensure_future(self._clock.sleep(TICK_S))
        try:
            await asyncio.wait([reading, tick], return_when=asyncio.FIRST_COMPLETED)
        finally:
            tick.cancel()
