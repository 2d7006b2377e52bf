"""How devices send: each as fast as its answers come, or all together at a steady rate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bench.load.device import Device


def send_windowed(senders: Sequence[Device], window: int) -> None:
    """Each has `window` sends without an answer, always."""
    for device in senders:
        device.on_result = device.send
        for _ in range(window):
            device.send()


async def send_paced(senders: Sequence[Device], per_second: float) -> None:
    """They take turns, so many messages a second in all, until cancelled. What comes too late is not left out."""
    loop = asyncio.get_running_loop()
    begin, sent = loop.time(), 0
    while True:
        due = int((loop.time() - begin) * per_second)
        while sent < due:
            senders[sent % len(senders)].send()
            sent += 1
        await asyncio.sleep(begin + (sent + 1) / per_second - loop.time())
