"""Doing the same for many, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


async def gather_limited(
    ask: Callable[[Asked], Awaitable[Answer]], asked: Collection[Asked], *, limit: int
) -> list[Answer]:
    """The answers in order, `most` of them under way at a time.

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
    """Whether the current task was cancelled.

    Before Python 3.12 `asyncio.wait_for`, and so any library that uses it, swallows a cancellation that arrives
    at the moment of its result; a loop that goes round once more must ask.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
