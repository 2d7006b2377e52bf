"""How a task that works for ever learns that it shall end, even if the cancellation itself was lost."""

from __future__ import annotations

import asyncio


def cancel_requested() -> bool:
    """Whether the current task was cancelled.

    Before Python 3.12 `asyncio.wait_for`, and so any library that uses it, swallows a cancellation that arrives
    at the moment of its result; a loop that goes round once more must ask.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
