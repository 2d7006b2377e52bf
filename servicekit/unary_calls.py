"""The unary calls of each device: bounded while they run, and while the device has not read their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from servicekit.clock import Clock
from servicekit.errors import RateLimited
from servicekit.rate_limiter import MAX_DEVICES, RateLimit, RateLimiter
from servicekit.tasks import on_task_end

# Calls of one device on a server that wait, run, or have an answer that the device has not read. Above the burst of the
# rate limit of calls.
MAX_DEVICE_CALLS: Final = 256
# Calls of one device on a server that run at once; others wait. An answer takes memory before its size is known.
MAX_RUNNING_CALLS: Final = 16
# Bytes of answers that one device has not read.
MAX_UNREAD_BYTES: Final = 4 * 1024 * 1024
# An answer up to this size is never refused, because its call may have changed something.
SMALL_ANSWER_BYTES: Final = 16 * 1024
# The bytes of answers that are not small, per device: Envoy takes about 128 KiB of an answer that the device does not
# read, and keeps it for 30 s; the server does not count what Envoy has taken.
ANSWER_RATE: Final = RateLimit(rate=1024 * 1024, burst=16 * 1024 * 1024)
RETRY_AFTER_S: Final = 1.0

Handle = Callable[[], Awaitable[bytes | None]]
"""Handles a call and returns its serialised answer."""


@dataclass(slots=True)
class _DeviceCalls:
    running: asyncio.Semaphore
    calls: int = 0
    unread_bytes: int = 0


@dataclass(slots=True)
class _Call:
    size: int = 0


class UnaryCalls:
    """The unary calls of all devices of a server."""

    def __init__(
        self,
        clock: Clock,
        max_calls: int = MAX_DEVICE_CALLS,
        max_running: int = MAX_RUNNING_CALLS,
        max_unread_bytes: int = MAX_UNREAD_BYTES,
        rate: RateLimit = ANSWER_RATE,
    ) -> None:
        self._max_calls = max_calls
        self._max_running = max_running
        self._max_unread_bytes = max_unread_bytes
        self._devices: dict[str, _DeviceCalls] = {}
        self._burst = rate.burst
        self._rates = RateLimiter(rate, clock, MAX_DEVICES)

    async def serve(self, device_id: str, handle: Handle) -> bytes | None:
        """Return the answer of `handle`. The call counts for the device until the current task has sent the answer.

        Raise RateLimited if the device has too many calls, or too many bytes to read. A small answer is not refused.
        """
        device = self._devices.setdefault(device_id, _DeviceCalls(asyncio.Semaphore(self._max_running)))
        if device.calls >= self._max_calls:
            raise RateLimited("this device has too many calls in progress", retry_after=RETRY_AFTER_S)
        call = self._begin(device_id, device)
        async with device.running:
            if device.unread_bytes >= self._max_unread_bytes:
                raise _not_read()
            answer = await handle()
        size = len(answer or b"")
        if size > SMALL_ANSWER_BYTES:
            # A device that has read everything gets an answer of any size.
            if 0 < device.unread_bytes > self._max_unread_bytes - size:
                raise _not_read()
            if (wait := self._rates.bucket_of(device_id).take(min(size, self._burst))) > 0:
                raise RateLimited("rate limit of the bytes of answers exceeded for this device", retry_after=wait)
        call.size = size
        device.unread_bytes += size
        return answer

    def _begin(self, device_id: str, device: _DeviceCalls) -> _Call:
        """Count a call of a device until the current task ends."""
        call = _Call()
        device.calls += 1

        def end() -> None:
            device.calls -= 1
            device.unread_bytes -= call.size
            if not device.calls:
                del self._devices[device_id]

        on_task_end(end)
        return call


def _not_read() -> RateLimited:
    return RateLimited("this device has not read the answers of its calls", retry_after=RETRY_AFTER_S)
