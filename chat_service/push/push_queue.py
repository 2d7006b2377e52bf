"""The queue of pushes: events for the notify service, written to a Redis Stream in batches."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis

from servicekit.errors import StoreUnavailable
from servicekit.redis import redis_errors
from servicekit.retry import retry_while_unavailable
from servicekit.tasks import cancel_requested

# The notify service reads it; the contract is QueuedPush in protos/parley/internal/v1/notify.proto.
QUEUE: Final = "notify:queue"
EVENT: Final = "event"
# Beyond about so many events that nobody reads, Redis drops the oldest.
MAX_QUEUED: Final = 1_000_000
# Events that wait for Redis; beyond them the oldest is dropped.
MAX_WAITING: Final = 50_000
BATCH: Final = 500
FLUSH_TIMEOUT_S: Final = 2.0

_queued = Counter("parley_push_events_queued", "Events queued for the notify service")
_dropped = Counter("parley_push_events_dropped", "Events dropped because Redis did not take them")

log = structlog.get_logger("push")


class RedisPushQueue:
    """Implements PushQueue: `add` never waits, and `run` writes what waits in one round trip."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()

    def add(self, event: bytes) -> None:
        """See PushQueue."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            _dropped.inc()
        self._waiting.append(event)
        self._wake.set()

    async def run(self) -> None:
        """Write events until cancelled, then those that wait."""
        try:
            while not cancel_requested():
                await self._wake.wait()
                self._wake.clear()
                await retry_while_unavailable("queue_pushes", self._write_waiting)
        finally:
            try:
                async with asyncio.timeout(FLUSH_TIMEOUT_S):
                    await self._write_waiting()
            except (StoreUnavailable, TimeoutError):
                log.warning("pushes not queued: Redis did not answer before the stop", events=len(self._waiting))

    async def _write_waiting(self) -> None:
        """Write all that waits. Raise StoreUnavailable: a batch may then have been written, and is written again."""
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
            with redis_errors():
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for event in batch:
                        pipeline.xadd(QUEUE, {EVENT: event}, maxlen=MAX_QUEUED, approximate=True)
                    await pipeline.execute()
            # `add` may have dropped some of them meanwhile.
            for event in batch:
                if self._waiting and self._waiting[0] is event:
                    self._waiting.popleft()
            _queued.inc(len(batch))
