"""The bounded queue between a stream and its application: when it is full, the stream is not read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from parley_client.events import ConnectionChanged
from parley_client.inbox import Item

CAPACITY = 256


class Feed:
    """Items in order. It holds `capacity`, the rest of one frame, and the newest state of the connection."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    async def put(self, items: Iterable[Item]) -> None:
        """Add what one frame brought; waits while the queue is full."""
        while len(self._items) >= self._capacity and not self._closed:
            await self._change()
        self._items.extend(items)
        self._notify()

    def post(self, item: Item) -> None:
        """Add at once what is rare, or bounded elsewhere; of states of the connection only the newest is kept."""
        newest = self._items[-1].event if self._items else None
        if isinstance(item.event, ConnectionChanged) and isinstance(newest, ConnectionChanged):
            self._items.pop()
        self._items.append(item)
        self._notify()

    async def take(self) -> Item | None:
        """The next item; None once the feed is closed and empty."""
        while not self._items:
            if self._closed:
                return None
            await self._change()
        item = self._items.popleft()
        self._notify()
        return item

    def close(self) -> None:
        """Nothing more will come; what is there can still be taken."""
        self._closed = True
        self._notify()

    async def _change(self) -> None:
        await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
