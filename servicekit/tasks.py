"""Helpers for asyncio tasks: bounded concurrency, cancellation and back-off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def gather_limited(
    function: Callable[[Item], Awaitable[Result]], items: Collection[Item], *, limit: int
) -> list[Result]:
    """Return `function(item)` for each item, in order, with at most `limit` calls running at a time.

    Raise the exception of the first call that failed, not wrapped in an ExceptionGroup, once the other calls are
    cancelled.
    """
    semaphore = asyncio.Semaphore(limit)

    async def call(item: Item) -> Result:
        async with semaphore:
            return await function(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call(item)) for item in items]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def on_task_end(call: Callable[[], None]) -> None:
    """Run `call` once the current task has ended. Raise RuntimeError outside of a task."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("there is no current task")
    task.add_done_callback(lambda _: call())


def cancel_requested() -> bool:
    """Return True if the cancellation of the current task was requested.

    Before Python 3.12 `asyncio.wait_for`, and so any library that uses it, swallows a cancellation that arrives
    together with its result. A loop around such a call must check this in every iteration.
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
