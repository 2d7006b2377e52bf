"""Helpers for asyncio tasks: bounded concurrency and cancellation."""

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

    Raises the exception of the first call that failed, not in a group, once the others have been cancelled.
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


def cancel_requested() -> bool:
    """Return True if the cancellation of the current task was requested.

    Before Python 3.12 `asyncio.wait_for`, and so any library that uses it, swallows a cancellation that arrives
    together with its result. A loop around such a call must check this in every iteration.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
