"""The patience of a transfer: it is repeated after failures until nothing has succeeded for a while."""

from __future__ import annotations

import asyncio

from parley_client.backoff import Backoff
from parley_client.errors import TransferInterrupted

# Long enough for a tunnel. The next call for the same file continues where this one stopped.
PATIENCE_S = 120.0
# Long enough for the server to verify 2 GiB and for a scanner to decide.
PROCESSING_PATIENCE_S = 600.0


class Persistence:
    """The delays between the attempts of one transfer, which fails after `patience_s` seconds without progress."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._backoff = Backoff(base=0.2, cap=5.0)
        self._failing_since: float | None = None

    def note_progress(self) -> None:
        """Note that something has succeeded."""
        self._backoff.reset()
        self._failing_since = None

    async def wait(self, cause: Exception, retry_after: float | None = None) -> None:
        """Wait before the next attempt. Raises TransferInterrupted if nothing succeeded for `patience_s` seconds."""
        now, delay_s = asyncio.get_running_loop().time(), self._backoff.next(retry_after)
        if self._failing_since is None:
            self._failing_since = now
        if now + delay_s > self._failing_since + self._patience_s:
            raise TransferInterrupted(f"the transfer was interrupted: {cause}", code="UNAVAILABLE") from cause
        await asyncio.sleep(delay_s)
