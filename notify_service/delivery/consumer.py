"""The consumer of the queue: it reads events, claims abandoned ones, and processes each in a task of its own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog
from prometheus_client import Counter

from notify_service.delivery.dispatcher import PushDispatcher
from notify_service.model.ports import DeadLetter, PushQueue, QueuedPayload
from notify_service.wire.events import decode_event
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable
from servicekit.retry import SERVICE_ERRORS, retry_while_unavailable
from servicekit.tasks import Backoff, cancel_requested

READ_COUNT: Final = 100
# More than a server has in flight.
READ_OWN_COUNT: Final = 1000
# Shorter than the time after which a client of Redis gives up.
READ_WAIT_S: Final = 0.5
# Also while a provider is silent, whose pushes wait for it, those of the others go on.
MAX_IN_FLIGHT: Final = 512
# An event that no server has renewed for this long was abandoned.
IDLE_S: Final = 30.0
RENEW_INTERVAL_S: Final = 8.0
CLAIM_INTERVAL_S: Final = 5.0
# A server that did not read for a day has ended for good. A running one reads twice a second.
FORGOTTEN_S: Final = 86_400.0
CLEANING_INTERVAL_S: Final = 3600.0
# Dead letters hold the texts of messages.
DEAD_LETTER_AGE_S: Final = 30 * 86_400.0
# An event that was delivered more often makes servers fail.
MAX_DELIVERIES: Final = 10
FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 5.0

_ABANDONED: Final = Counter("parley_push_events_abandoned", "Events that another server had left, and were claimed")

log = structlog.get_logger("notify.consumer")


class EventConsumer:
    """Processes the events of the queue as the consumer `name`, at most MAX_IN_FLIGHT at a time.

    `read` and `claim` take events, until the drain begins; `run` goes on with those in flight until the process stops.
    """

    def __init__(self, queue: PushQueue, dispatcher: PushDispatcher, name: str, clock: Clock) -> None:
        self._queue = queue
        self._dispatcher = dispatcher
        self._name = name
        self._clock = clock
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._in_flight = set[str]()
        self._accepted: asyncio.Queue[QueuedPayload] = asyncio.Queue(1)

    async def run(self) -> None:
        """Process the events that were taken, and keep other servers from claiming them, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew())
            while not cancel_requested():
                event = await self._accepted.get()
                await self._slots.acquire()
                group.create_task(self._process(event))

    async def read(self) -> None:
        """Take the events that a process before this one left, then new ones, until cancelled."""
        backoff = Backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
        take = partial(self._queue.read_own, self._name, READ_OWN_COUNT)
        while not cancel_requested():
            try:
                events = await take()
            except StoreUnavailable as failure:
                log.warning("queue not read", error=failure.message)
                await self._clock.sleep(backoff.next())
                continue
            backoff.reset()
            # Events are this server's own until they are acknowledged: they are asked for once.
            take = partial(self._queue.read, self._name, READ_COUNT, READ_WAIT_S)
            await self._take(events)

    async def claim(self) -> None:
        """Take abandoned events, and clean the queue once an hour, until cancelled."""
        cleaned_at = -math.inf
        while not cancel_requested():
            await self._clock.sleep(CLAIM_INTERVAL_S)
            try:
                events = await self._queue.claim(self._name, IDLE_S, READ_COUNT)
            except StoreUnavailable as failure:
                log.warning("abandoned events not claimed", error=failure.message)
                continue
            if self._clock.monotonic() >= cleaned_at + CLEANING_INTERVAL_S:
                cleaned_at = self._clock.monotonic()
                await self._clean()
            if events:
                _ABANDONED.inc(len(events))
                log.info("abandoned events claimed", events=len(events))
            await self._take(events)

    async def _clean(self) -> None:
        """Remove servers that ended long ago from the group, and old dead letters."""
        try:
            await self._queue.remove_consumers(FORGOTTEN_S)
            await self._queue.trim_dead_letters(DEAD_LETTER_AGE_S)
        except StoreUnavailable as failure:
            log.info("queue not cleaned", error=failure.message)

    async def _take(self, events: Sequence[QueuedPayload]) -> None:
        new = [each for each in events if each.event_id not in self._in_flight]
        # All are renewed from now on: the last of them may wait for long.
        waiting = {each.event_id for each in new}
        self._in_flight |= waiting
        try:
            for event in new:
                await self._accepted.put(event)
                waiting.discard(event.event_id)
        finally:
            # At the drain the others are left to another server.
            self._in_flight -= waiting

    async def _renew(self) -> None:
        while not cancel_requested():
            await self._clock.sleep(RENEW_INTERVAL_S)
            try:
                await self._queue.renew(self._name, list(self._in_flight))
            except StoreUnavailable as failure:
                log.warning("events in flight not renewed", error=failure.message)

    async def _process(self, event: QueuedPayload) -> None:
        try:
            await self._deliver(event)
        except Exception:
            # It is claimed again once it was idle, and is a dead letter after MAX_DELIVERIES.
            log.exception("event not processed", event_id=event.event_id, deliveries=event.deliveries)
        finally:
            self._in_flight.discard(event.event_id)
            self._slots.release()

    async def _deliver(self, event: QueuedPayload) -> None:
        if not event.payload:
            # It was trimmed from the queue, whose length is bounded.
            await self._acknowledge(event)
            return
        if event.deliveries > MAX_DELIVERIES:
            await self._acknowledge(
                event, DeadLetter(event.payload, f"not processed in {MAX_DELIVERIES} attempts", True)
            )
            return
        try:
            decoded = decode_event(event.payload)
        except ValueError as error:
            await self._acknowledge(event, DeadLetter(event.payload, str(error), True))
            return
        # What was requeued by an operator is sent whatever was tried before.
        event_id = "" if event.requeued else event.event_id
        deliver = partial(self._dispatcher.deliver, decoded, event_id)
        failed = await retry_while_unavailable("deliver_event", deliver, errors=SERVICE_ERRORS, max_pause_s=MAX_PAUSE_S)
        acknowledge = partial(self._queue.acknowledge, event.event_id, failed.jobs, failed.dead_letters)
        await retry_while_unavailable("acknowledge_event", acknowledge)

    async def _acknowledge(self, event: QueuedPayload, *dead_letters: DeadLetter) -> None:
        for each in dead_letters:
            log.error("event is a dead letter", event_id=event.event_id, reason=each.reason)
        await retry_while_unavailable(
            "acknowledge_event", partial(self._queue.acknowledge, event.event_id, (), dead_letters)
        )
