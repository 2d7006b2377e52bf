"""The send patterns of devices: a window of unanswered sends per device, or a constant total rate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bench.load.device import Device


def send_windowed(senders: Sequence[Device], window: int) -> None:
    """Keep `window` unanswered sends in flight from each device."""
    for device in senders:
        device.on_result = device.send
        for _ in range(window):
            device.send()


async def send_paced(senders: Sequence[Device], per_second: float) -> None:
    """Send `per_second` messages in total, from the devices in turn, until cancelled. Late messages are caught up."""
    loop = asyncio.get_running_loop()
    started_at, sent = loop.time(), 0
    while True:
        due = int((loop.time() - started_at) * per_second)
        while sent < due:
            senders[sent % len(senders)].send()
            sent += 1
        await asyncio.sleep(started_at + (sent + 1) / per_second - loop.time())
