"""The loop that sends jobs again when they are due."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog

from notify_service.delivery.dispatcher import PushDispatcher
from notify_service.delivery.failed_pushes import FailedPushes
from notify_service.delivery.sender import SendResult
from notify_service.model.decision import PushOutcome
from notify_service.model.ports import DeadLetter, PushQueue
from notify_service.wire.events import decode_job
from servicekit.clock import Clock
from servicekit.errors import ServiceUnavailable, StoreUnavailable
from servicekit.failure import INTERNAL_ERROR
from servicekit.retry import retry_while_unavailable
from servicekit.tasks import cancel_requested, gather_limited

JOBS_AT_A_TIME: Final = 100
PAUSE_S: Final = 0.5
# Longer than an attempt takes, which has up to four requests of 17 s. After this time another server repeats the jobs
# of one that died.
LEASE_S: Final = 75.0

# Of a job that a fault of this program ends, after whatever it has sent.
FAULT: Final = SendResult(PushOutcome.RETRYING, INTERNAL_ERROR, LEASE_S)

log = structlog.get_logger("notify.jobs")


class JobLoop:
    """Sends jobs again when they are due, at most JOBS_AT_A_TIME at a time.

    `take` takes due jobs, until the drain begins; `run` goes on with those in flight until the process stops.
    """

    def __init__(self, queue: PushQueue, dispatcher: PushDispatcher, clock: Clock) -> None:
        self._queue = queue
        self._dispatcher = dispatcher
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
            await self._acknowledge(payload, DeadLetter(payload, str(error)))
            return
        try:
            failed = await self._dispatcher.deliver_job(job)
        except (StoreUnavailable, ServiceUnavailable) as failure:
            log.warning("job waits", error=failure.message)
            return
        except Exception:
            log.exception("job not processed", attempts=job.attempts)
            failed = FailedPushes(self._clock.now_ms(), job)
            failed.add_fault(job, FAULT)
        acknowledge = partial(self._queue.acknowledge_job, payload, failed.jobs, failed.dead_letters)
        await retry_while_unavailable("acknowledge_job", acknowledge)

    async def _acknowledge(self, payload: bytes, letter: DeadLetter) -> None:
        log.error("job is a dead letter", reason=letter.reason)
        await retry_while_unavailable("acknowledge_job", partial(self._queue.acknowledge_job, payload, (), [letter]))
