"""Erasure, in the background, of what other services keep about devices that were signed out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from servicekit.failure import Failure
from servicekit.tasks import cancel_requested

MAX_PENDING: Final = 10_000

EraseDevice = Callable[[str, str], Awaitable[None]]
"""Erases what other services keep about a device: `(user_id, device_id)`.

Raises Failure.
"""

log = structlog.get_logger("chat.device_eraser")


class DeviceEraser:
    """Erases devices one after another, at most MAX_PENDING behind.

    It is best effort: an erasure that fails is not repeated. The other services remove what they have of a device when
    they find that it is signed out.
    """

    def __init__(self, erase: EraseDevice) -> None:
        self._erase = erase
        self._pending: asyncio.Queue[tuple[str, str]] = asyncio.Queue(MAX_PENDING)

    def note(self, user_id: str, device_id: str) -> None:
        """Erase a device soon."""
        try:
            self._pending.put_nowait((user_id, device_id))
        except asyncio.QueueFull:
            log.warning("signed-out device not erased at other services: too many are waiting")

    async def run(self) -> None:
        """Erase devices until cancelled."""
        while not cancel_requested():
            device = await self._pending.get()
            try:
                await self._erase(*device)
            except Failure as failure:
                # Also what a service of an earlier version answers.
                log.info("signed-out device not erased at another service", error=failure.message)
