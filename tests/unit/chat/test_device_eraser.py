"""Devices that were signed out are erased at other services, behind the sign-out."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from chat_service import device_eraser
from chat_service.device_eraser import DeviceEraser
from servicekit.errors import ServiceUnavailable
from tests.eventually import run_ready


async def test_failure_of_one_erasure_does_not_end_the_others() -> None:
    erased = []

    async def erase(user_id: str, device_id: str) -> None:
        if device_id == "unreachable":
            raise ServiceUnavailable("no notify server")
        erased.append((user_id, device_id))

    eraser = DeviceEraser(erase)
    for device in ("one", "unreachable", "two"):
        eraser.note("bob", device)
    running = asyncio.create_task(eraser.run())
    await run_ready()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert erased == [("bob", "one"), ("bob", "two")]


async def test_sign_out_never_waits_for_erasures() -> None:
    async def erase(*_: str) -> None:
        await asyncio.Event().wait()

    eraser = DeviceEraser(erase)
    for number in range(device_eraser.MAX_PENDING + 5):
        eraser.note("bob", str(number))
