"""Helpers that wait for a condition on real servers, with a deadline."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

ROUNDS = 20
"""The number of event loop rounds; longer than any chain of tasks that wake each other."""


async def eventually(holds: Callable[[], object | Awaitable[object]], timeout: float = 30.0) -> None:
    """Return as soon as `holds()` is true (an awaitable is awaited). Raises AssertionError after `timeout` seconds.

    An AssertionError in `holds` means "not yet"; the last one is raised after the timeout.
    """
    deadline = time.monotonic() + timeout
    while True:
        failure = AssertionError(f"did not come true within {timeout} s")
        try:
            answer = holds()
            if await answer if inspect.isawaitable(answer) else answer:
                return
        except AssertionError as error:
            failure = error
        if time.monotonic() > deadline:
            raise failure
        await asyncio.sleep(0.02)


async def run_ready() -> None:
    """Run every task that waits neither for time nor for I/O, until all tasks wait."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
