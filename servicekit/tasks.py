"""Helpers for tasks: bounded concurrency, cancellation, and back-off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


async def gather_limited(
    ask: Callable[[Asked], Awaitable[Answer]], asked: Collection[Asked], *, limit: int
) -> list[Answer]:
    """The answers in order, at most `limit` of them in flight at a time.

    Raises what the first that failed raised, itself and not in a group, once the others have been cancelled.
    """
    room = asyncio.Semaphore(limit)

    async def one(each: Asked) -> Answer:
        async with room:
            return await ask(each)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(each)) for each in asked]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def cancel_requested() -> bool:
    """Return True if the current task was cancelled.

    Before Python 3.12 `asyncio.wait_for`, and so any library that uses it, swallows a cancellation that arrives
    at the moment of its result; a loop that goes round once more must ask.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Backoff:
    """An exponential back-off: pauses that start at `first_s` seconds and double up to `max_s`."""

    def __init__(self, first_s: float, max_s: float) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._next_s = first_s

    def next(self) -> float:
        """Return the pause before the next attempt, in seconds, and double the one after it."""
        pause_s = self._next_s
        self._next_s = min(pause_s * 2, self._max_s)
        return pause_s

    def reset(self) -> None:
        """Start again at the first pause, after an attempt that succeeded."""
        self._next_s = self._first_s
