"""The loop that sends jobs again when they are due."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog

from notify_service.delivery.delivery import Delivery
from notify_service.model.ports import Dead, PushQueue
from notify_service.wire.events import decode_job
from servicekit.clock import Clock
from servicekit.errors import ServiceUnavailable, StoreUnavailable
from servicekit.retry import retry_while_unavailable
from servicekit.tasks import cancel_requested, gather_limited

JOBS_AT_A_TIME: Final = 100
PAUSE_S: Final = 0.5
# Longer than an attempt takes, which has up to four requests of 17 s. After this time another server repeats the jobs
# of one that died.
LEASE_S: Final = 75.0

log = structlog.get_logger("notify.retries")


class RetryLoop:
    """Sends jobs again when they are due, at most JOBS_AT_A_TIME at a time.

    `take` takes due jobs, until the drain begins; `run` goes on with those in flight until the process stops.
    """

    def __init__(self, queue: PushQueue, delivery: Delivery, clock: Clock) -> None:
        self._queue = queue
        self._delivery = delivery
        self._clock = clock
        self._taken: asyncio.Queue[list[bytes]] = asyncio.Queue(1)

    async def run(self) -> None:
        """Send the jobs that were taken, until cancelled."""
        while not cancel_requested():
            jobs = await self._taken.get()
            await gather_limited(self._send, jobs, limit=JOBS_AT_A_TIME)
            self._taken.task_done()

    async def take(self) -> None:
        """Take the jobs that are due, and the next ones once these were sent, until cancelled."""
        while not cancel_requested():
            jobs = await self._take_due()
            if jobs:
                await self._taken.put(jobs)
                await self._taken.join()
            else:
                await self._clock.sleep(PAUSE_S)

    async def _take_due(self) -> list[bytes]:
        try:
            return await self._queue.take_due(JOBS_AT_A_TIME, LEASE_S)
        except StoreUnavailable as failure:
            log.warning("jobs not read", error=failure.message)
            return []

    async def _send(self, payload: bytes) -> None:
        try:
            job = decode_job(payload)
        except ValueError as error:
            await self._finish(payload, Dead(payload, str(error)))
            return
        try:
            left = await self._delivery.deliver_again(job)
        except (StoreUnavailable, ServiceUnavailable) as failure:
            log.warning("job waits", error=failure.message)
            return
        except Exception:
            log.exception("job not processed", attempts=job.attempts)
            return
        finish = partial(self._queue.finish, payload, left.retries, left.dead)
        await retry_while_unavailable("finish push job", finish)

    async def _finish(self, payload: bytes, dead: Dead) -> None:
        log.error("job is a dead letter", reason=dead.reason)
        await retry_while_unavailable("finish push job", partial(self._queue.finish, payload, (), [dead]))
