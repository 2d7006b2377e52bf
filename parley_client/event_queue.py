"""The bounded queue of events between a stream and the application. While it is full, the stream is not read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from parley_client.events import ConnectionChanged
from parley_client.inbox import QueuedEvent

MAX_QUEUED_EVENTS = 256


class EventQueue:
    """A queue of `capacity` events, which the events of one frame and the newest connection state may exceed.

    The queue has no capacity while the application awaits a reply: the reply follows the events on the same stream, and
    an application that awaits it while it handles an event takes none from the queue.
    """

    def __init__(self, capacity: int = MAX_QUEUED_EVENTS) -> None:
        self._capacity = capacity
        self._items: deque[QueuedEvent] = deque()
        self._changed = asyncio.Event()
        self._closed = False
        self._overflows = 0

    @contextmanager
    def overflow(self) -> Iterator[None]:
        """Let the queue exceed its capacity within the block."""
        self._overflows += 1
        self._notify()
        try:
            yield
        finally:
            self._overflows -= 1

    async def put(self, items: Iterable[QueuedEvent]) -> None:
        """Add the events of one frame; wait while the queue is full."""
        while len(self._items) >= self._capacity and not self._closed and not self._overflows:
            await self._wait_changed()
        self._items.extend(items)
        self._notify()

    def put_nowait(self, item: QueuedEvent) -> None:
        """Add an event that is rare or bounded elsewhere, without waiting. Consecutive connection states are merged."""
        newest = self._items[-1].event if self._items else None
        if isinstance(item.event, ConnectionChanged) and isinstance(newest, ConnectionChanged):
            self._items.pop()
        self._items.append(item)
        self._notify()

    async def get(self) -> QueuedEvent | None:
        """Return the next event; None once the queue is closed and empty."""
        while not self._items:
            if self._closed:
                return None
            await self._wait_changed()
        item = self._items.popleft()
        if item.span is not None:
            item.span.end()
        self._notify()
        return item

    def close(self) -> None:
        """End the queue; queued events can still be read."""
        self._closed = True
        self._notify()

    async def _wait_changed(self) -> None:
        await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
