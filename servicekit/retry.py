"""Retries of calls while a store, or another service, is unavailable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from prometheus_client import Counter

from servicekit.errors import ServiceUnavailable, StoreUnavailable
from servicekit.tasks import Backoff, cancel_requested

FIRST_PAUSE_S: Final = 0.05
MAX_PAUSE_S: Final = 1.0
# The errors of a call to another service: its own store may be unavailable too.
SERVICE_ERRORS: Final = (StoreUnavailable, ServiceUnavailable)

T = TypeVar("T")

_retries = Counter("parley_store_retries", "Calls retried because a store, or a service, was unavailable", ["call"])
log = structlog.get_logger("store.retry")


async def retry_while_unavailable(
    name: str,
    call: Callable[[], Awaitable[T]],
    *,
    errors: tuple[type[StoreUnavailable | ServiceUnavailable], ...] = (StoreUnavailable,),
    max_pause_s: float = MAX_PAUSE_S,
) -> T:
    """Return the result of `call`, retrying with back-off for as long as it raises one of `errors`.

    `call` must be idempotent: an attempt that raised may have taken effect. Pauses double up to `max_pause_s` seconds.
    Raise CancelledError if the task is cancelled between two attempts.
    """
    backoff = Backoff(FIRST_PAUSE_S, max_pause_s)
    while True:
        try:
            return await call()
        except errors as failure:
            _retries.labels(name).inc()
            log.warning("call failed, retrying", call=name, error=failure.message)
        if cancel_requested():
            raise asyncio.CancelledError
        await asyncio.sleep(backoff.next())
