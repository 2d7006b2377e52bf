"""Several parts of one file at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

# Enough to fill a fast link with a round trip of 100 ms.
PARALLEL_PARTS = 4


async def for_each_part(
    parts: Iterable[int], transfer: Callable[[int], Awaitable[None]], parallel: int = PARALLEL_PARTS
) -> None:
    """Transfer the parts in order, `parallel` at a time. The first error cancels the others and is raised."""
    waiting = deque(parts)

    async def work() -> None:
        while waiting:
            await transfer(waiting.popleft())

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(parallel, len(waiting))):
                workers.create_task(work())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
