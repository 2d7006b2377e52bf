"""The writer of last-seen times to MongoDB, behind the reports: Redis may lose them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from typing import Final

from presence_service.model.ports import LastSeenStore, PresenceStore
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable
from servicekit.retry import retry_while_unavailable
from servicekit.tasks import cancel_requested

WRITE_INTERVAL_S: Final = 2.0
WRITE_BATCH: Final = 1000
LAST_WRITE_TIMEOUT_S: Final = 2.0


class LastSeenWriter:
    """Stores the last-seen times of the users who have left the foreground, every WRITE_INTERVAL_S."""

    def __init__(self, store: PresenceStore, last_seen: LastSeenStore, clock: Clock) -> None:
        self._store = store
        self._last_seen = last_seen
        self._clock = clock
        self._due = dict[str, None]()

    def note(self, user_ids: Iterable[str]) -> None:
        """Store the last-seen times of these users soon."""
        self._due.update(dict.fromkeys(user_ids))

    async def run(self) -> None:
        """Store times until cancelled, then those that are due."""
        try:
            while not cancel_requested():
                await self._clock.sleep(WRITE_INTERVAL_S)
                await retry_while_unavailable("write_last_seen", self._write_due)
        finally:
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(LAST_WRITE_TIMEOUT_S):
                    await self._write_due()

    async def _write_due(self) -> None:
        while batch := list(islice(self._due, WRITE_BATCH)):
            for user_id in batch:
                del self._due[user_id]
            try:
                records = await self._store.find_all(batch)
                seen = {user_id: each.seen_ms for user_id, each in records.items() if each.seen_ms}
                await self._last_seen.raise_all(seen)
            except StoreUnavailable:
                self.note(batch)
                raise
