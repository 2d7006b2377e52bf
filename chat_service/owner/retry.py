"""Asking a store again until it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from prometheus_client import Counter

from chat_service.errors import StoreUnavailable
from servicekit.tasks import Backoff, cancel_requested

FIRST_PAUSE_S: Final = 0.05
MAX_PAUSE_S: Final = 1.0

T = TypeVar("T")

_retries = Counter("parley_store_repeats", "Calls repeated because the store did not answer", ["call"])
log = structlog.get_logger("owner.patience")


async def retry_while_unavailable(name: str, call: Callable[[], Awaitable[T]]) -> T:
    """The answer of `call`, repeated while the store is unavailable; for what is idempotent."""
    backoff = Backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
    while True:
        try:
            return await call()
        except StoreUnavailable as failure:
            _retries.labels(name).inc()
            log.warning("store does not answer, asking again", call=name, error=failure.message)
        if cancel_requested():
            raise asyncio.CancelledError
        await asyncio.sleep(backoff.next())
