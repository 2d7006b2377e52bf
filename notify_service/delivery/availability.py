"""Repeating a step of a delivery while a store, or chat, is unavailable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from servicekit.clock import Clock
from servicekit.errors import ServiceUnavailable, StoreUnavailable
from servicekit.tasks import Backoff

FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 5.0

T = TypeVar("T")

log = structlog.get_logger("notify.delivery")


async def repeat_until_available(step: str, call: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """Return the result of `call`, repeated with back-off while it raises StoreUnavailable or ServiceUnavailable."""
    backoff = Backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
    while True:
        try:
            return await call()
        except (StoreUnavailable, ServiceUnavailable) as failure:
            log.warning("delivery waits", step=step, error=failure.message)
        await clock.sleep(backoff.next())
