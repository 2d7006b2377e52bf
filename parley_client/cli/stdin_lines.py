"""An asynchronous reader of lines from a pipe or file."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from contextlib import suppress

# Raised in the reader thread once the event loop is closed.
_READER_GONE = (RuntimeError, CancelledError)


async def read_lines(descriptor: int) -> AsyncIterator[str]:
    """Yield the lines of a pipe or file as they arrive; bytes that are not UTF-8 become surrogates.

    A blocking read cannot be cancelled. A daemon thread therefore reads from a duplicate of the descriptor, so that
    cancelling this generator and ending the program do not wait for the next line.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=1)

    def hand_over(line: str | None) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()

    def run() -> None:
        # Once the event loop is closed, the queue has no consumer, and the thread ends.
        with open(os.dup(descriptor), encoding="utf-8", errors="surrogateescape") as file, suppress(*_READER_GONE):  # noqa: PTH123
            for line in file:
                hand_over(line)
            hand_over(None)

    threading.Thread(target=run, name="piped-lines", daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line
