"""Lines that another program pipes in."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from contextlib import suppress


async def read_lines(descriptor: int) -> AsyncIterator[str]:
    """The lines of a pipe or file, read as they are taken; bytes that are not UTF-8 become surrogates.

    Nothing can interrupt a read. So that whoever stops waiting for a line can also end, it happens in a thread that
    the end of the program does not wait for, on a file of its own.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=1)

    def hand_over(line: str | None) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()

    def run() -> None:
        # Once the loop is closed nobody takes lines any more.
        with open(os.dup(descriptor), encoding="utf-8", errors="surrogateescape") as file, suppress(*_READER_GONE):  # noqa: PTH123
            for line in file:
                hand_over(line)
            hand_over(None)

    threading.Thread(target=run, name="piped-lines", daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line


_READER_GONE = (RuntimeError, CancelledError)
