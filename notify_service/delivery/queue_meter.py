"""The metrics of the queue, which every server reads from the store."""

from __future__ import annotations

from typing import Final

import structlog
from prometheus_client import Gauge

from notify_service.model.ports import PushQueue
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable
from servicekit.tasks import cancel_requested

INTERVAL_S: Final = 5.0

_EVENTS: Final = Gauge("parley_push_queue_events", "Events in the queue, those in flight included")
_OLDEST: Final = Gauge(
    "parley_push_queue_oldest_seconds", "Age of the oldest event in the queue in seconds, 0 if empty"
)
_JOBS: Final = Gauge("parley_push_retry_jobs", "Pushes that wait to be sent again")
_DEAD: Final = Gauge("parley_push_dead_letters", "Pushes that failed for good and are kept for an operator")

log = structlog.get_logger("notify.queue")


class QueueMeter:
    """Measures the queue every INTERVAL_S."""

    def __init__(self, queue: PushQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock

    async def run(self) -> None:
        """Measure until cancelled."""
        while not cancel_requested():
            try:
                depth = await self._queue.measure()
            except StoreUnavailable as failure:
                log.info("queue not measured", error=failure.message)
            else:
                _EVENTS.set(depth.events)
                _OLDEST.set(depth.oldest_s)
                _JOBS.set(depth.jobs)
                _DEAD.set(depth.dead_letters)
            await self._clock.sleep(INTERVAL_S)
