"""Send lanes: pushes with one collapse id go to a device one after another, and a newer one replaces a waiting one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from cachetools import TTLCache

from notify_service.model.push import Outcome, Push, RetryLater
from notify_service.model.registration import Registration
from servicekit.clock import Clock

MEMORY_S: Final = 60.0
MAX_LANES: Final = 100_000

TOO_LATE: Final = RetryLater("its turn came too late; it is decided again", 0.0)

LaneKey = tuple[bytes, str, str]

Send = Callable[[Registration, Push], Awaitable[Outcome]]
"""Sends a push to a device once."""


@dataclass(slots=True)
class _Lane:
    """A lane on which a push is being sent.

    `waiting` is the result of the wait of the next one: True if the lane is free, False if a newer push came.
    """

    waiting: asyncio.Future[bool] | None = None


class SendLanes:
    """One lane for each token, conversation and collapse id, while pushes are on it.

    For MEMORY_S after a push no older one is sent: events are decided concurrently, and may arrive here in any order.
    """

    def __init__(self, send: Send, clock: Clock) -> None:
        self._send = send
        self._clock = clock
        self._lanes: dict[LaneKey, _Lane] = {}
        self._newest: TTLCache[LaneKey, int] = TTLCache(MAX_LANES, MEMORY_S, timer=clock.monotonic)

    async def send(self, registration: Registration, push: Push, valid_until: float = math.inf) -> Outcome | None:
        """Send a push once its lane is free and return the outcome; None if a newer one replaced it before.

        A push whose lane is free only after `valid_until`, a monotonic time, is not sent: TOO_LATE.
        """
        key = registration.token_id, push.conversation_id, push.collapse_id
        if push.seq < self._newest.get(key, 0):
            return None
        self._newest[key] = push.seq
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
        elif not await self._wait(key, lane):
            return None
        try:
            return await self._send(registration, push) if self._clock.monotonic() <= valid_until else TOO_LATE
        finally:
            self._release(key, lane)

    async def _wait(self, key: LaneKey, lane: _Lane) -> bool:
        """Return True once the lane is free, False if a newer push replaced this one."""
        if lane.waiting is not None and not lane.waiting.done():
            lane.waiting.set_result(False)
        is_free: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        lane.waiting = is_free
        try:
            return await is_free
        except asyncio.CancelledError:
            # The lane may have become free at the same moment.
            if is_free.done() and not is_free.cancelled() and is_free.result():
                self._release(key, lane)
            raise

    def _release(self, key: LaneKey, lane: _Lane) -> None:
        waiting, lane.waiting = lane.waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(True)
        else:
            del self._lanes[key]
