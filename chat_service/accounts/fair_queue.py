"""A bounded queue for slots that are granted to keys in turn, so that no key delays the others for long."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from servicekit.errors import ServerBusy

RETRY_AFTER_S = 5.0


class FairQueue:
    """`slots` slots, and a queue of at most `max_waiting` calls, of which at most `max_waiting_per_key` have one key.

    If the queue is full, a call is refused of the key with the longest queue.
    """

    def __init__(self, slots: int, *, max_waiting: int, max_waiting_per_key: int) -> None:
        self._free = slots
        self._max_waiting = max_waiting
        self._max_waiting_per_key = max_waiting_per_key
        # The keys in the order of their next turn.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def acquire(self, key: str) -> None:
        """Wait for a slot. The caller releases it. Raise ServerBusy if too many calls wait."""
        if self._free:
            self._free -= 1
            return
        self._make_room(key)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # The slot was granted in the same moment.
                self.release()
            else:
                self._remove(key, waiter)
            raise

    def release(self) -> None:
        """Pass a slot on to the key whose turn it is, or free it."""
        while self._waiting:
            key, waiters = next(iter(self._waiting.items()))
            waiter = waiters.popleft()
            self._waiting.move_to_end(key)
            if not waiters:
                del self._waiting[key]
            # The task of a waiter that was cancelled may not have run since.
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    def _make_room(self, key: str) -> None:
        """Refuse a waiting call of a longer queue if the queue is full. Raise ServerBusy if there is none."""
        own = len(self._waiting.get(key, ()))
        if own >= self._max_waiting_per_key:
            raise _busy()
        if sum(map(len, self._waiting.values())) < self._max_waiting:
            return
        longest = max(self._waiting, key=lambda each: len(self._waiting[each]), default=None)
        if longest is None or len(self._waiting[longest]) <= own + 1:
            raise _busy()
        refused = self._waiting[longest].pop()
        if not refused.done():
            refused.set_exception(_busy())

    def _remove(self, key: str, waiter: asyncio.Future[None]) -> None:
        waiters = self._waiting.get(key)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiting[key]


def _busy() -> ServerBusy:
    return ServerBusy("too many passwords are being checked; try again later", retry_after=RETRY_AFTER_S)
