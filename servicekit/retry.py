"""Retries of store calls while the store is unavailable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from prometheus_client import Counter

from servicekit.errors import StoreUnavailable
from servicekit.tasks import Backoff, cancel_requested

FIRST_PAUSE_S: Final = 0.05
MAX_PAUSE_S: Final = 1.0

T = TypeVar("T")

_retries = Counter("parley_store_retries", "Store calls retried because the store was unavailable", ["call"])
log = structlog.get_logger("store.retry")


async def retry_while_unavailable(name: str, call: Callable[[], Awaitable[T]]) -> T:
    """Return the result of `call`, retrying with back-off for as long as it raises StoreUnavailable.

    `call` must be idempotent: an attempt that raised may have taken effect. Raise CancelledError if the task is
    cancelled between two attempts.
    """
    backoff = Backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
    while True:
        try:
            return await call()
        except StoreUnavailable as failure:
            _retries.labels(name).inc()
            log.warning("store unavailable, retrying", call=name, error=failure.message)
        if cancel_requested():
            raise asyncio.CancelledError
        await asyncio.sleep(backoff.next())
