"""The times of the last pushes of tokens, written behind: they are shown to users, and decide nothing."""

from __future__ import annotations

from typing import Final

import structlog

from notify_service.model.ports import TokenStore
from notify_service.model.registration import Registration
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable
from servicekit.tasks import cancel_requested

WRITE_INTERVAL_S: Final = 1.0
# The time of a token is stored at most this often.
NOTE_INTERVAL_MS: Final = 60_000
# Times beyond are not stored.
MAX_PENDING: Final = 10_000

log = structlog.get_logger("notify.push_times")


class PushTimes:
    """Gathers the times at which pushes were accepted, and stores them every WRITE_INTERVAL_S."""

    def __init__(self, tokens: TokenStore, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        # By id of the token.
        self._pending: dict[bytes, int] = {}

    def note(self, registration: Registration) -> None:
        """Note that a push to a device was accepted now."""
        now_ms = self._clock.now_ms()
        if now_ms - registration.last_push_ms >= NOTE_INTERVAL_MS and len(self._pending) < MAX_PENDING:
            self._pending[registration.token_id] = now_ms

    async def run(self) -> None:
        """Store what was noted, until cancelled."""
        while not cancel_requested():
            await self._clock.sleep(WRITE_INTERVAL_S)
            pending, self._pending = self._pending, {}
            try:
                await self._tokens.note_pushes(pending)
            except StoreUnavailable as failure:
                log.info("times of pushes not stored", error=failure.message, tokens=len(pending))
