"""The unary calls of a device are bounded while they run and while the device has not read their answers."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from servicekit.errors import RateLimited
from servicekit.rate_limiter import RateLimit
from servicekit.unary_calls import SMALL_ANSWER_BYTES, UnaryCalls
from tests.clock import ManualClock
from tests.eventually import run_ready

LARGE = SMALL_ANSWER_BYTES + 1


class Device:
    """A device whose answers are read when told."""

    def __init__(self, calls: UnaryCalls, device_id: str = "b" * 32) -> None:
        self._calls = calls
        self._device_id = device_id
        self._read = asyncio.Event()
        self._reading: list[asyncio.Task[None]] = []

    async def call(self, size: int = 0, answer: Callable[[], Awaitable[bytes]] | None = None) -> bytes | None:
        """Return the answer of a call; the call ends once the device reads."""
        answered: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        async def handle() -> bytes:
            return bytes(size)

        async def serve() -> None:
            try:
                answered.set_result(await self._calls.serve(self._device_id, answer or handle))
            except RateLimited as refusal:
                answered.set_exception(refusal)
                return
            await self._read.wait()

        self._reading.append(asyncio.create_task(serve()))
        return await answered

    async def read(self) -> None:
        """Read all answers."""
        self._read.set()
        await asyncio.gather(*self._reading)
        self._read.clear()
        await run_ready()


async def test_device_that_reads_no_answers_gets_no_more_until_it_reads() -> None:
    calls = UnaryCalls(ManualClock(), max_unread_bytes=3 * LARGE)
    device, other = Device(calls), Device(calls, "c" * 32)
    for _ in range(3):
        assert await device.call(LARGE)
    with pytest.raises(RateLimited) as refused:
        await device.call(LARGE)
    assert refused.value.retry_after
    assert await other.call(LARGE)
    await device.read()
    assert await device.call(LARGE)


async def test_bytes_of_answers_are_limited_by_rate_although_they_are_read() -> None:
    clock = ManualClock()
    device = Device(UnaryCalls(clock, rate=RateLimit(rate=LARGE, burst=3 * LARGE)))
    for size in (LARGE, 2 * LARGE):
        assert await device.call(size)
        await device.read()
    with pytest.raises(RateLimited) as refused:
        await device.call(2 * LARGE)
    assert refused.value.retry_after == 2
    assert await device.call(SMALL_ANSWER_BYTES)
    clock.advance(3)
    # An answer beyond the burst takes all of it.
    await device.read()
    assert await device.call(10 * LARGE)


async def test_small_answer_of_a_call_that_ran_is_not_refused() -> None:
    device = Device(UnaryCalls(ManualClock(), max_unread_bytes=2 * LARGE))
    assert await device.call(2 * LARGE - 1)
    assert await device.call(SMALL_ANSWER_BYTES) is not None


async def test_answer_larger_than_the_bound_is_sent_to_a_device_that_has_read_all() -> None:
    device = Device(UnaryCalls(ManualClock(), max_unread_bytes=LARGE))
    assert await device.call(10 * LARGE)
    with pytest.raises(RateLimited):
        await device.call()


async def test_unfinished_calls_of_a_device_are_bounded() -> None:
    device = Device(UnaryCalls(ManualClock(), max_calls=3))
    for _ in range(3):
        assert await device.call() is not None
    with pytest.raises(RateLimited, match="in progress"):
        await device.call()
    await device.read()
    assert await device.call() is not None


async def test_calls_beyond_those_that_run_wait() -> None:
    running, may_end = list[int](), asyncio.Event()

    async def handle() -> bytes:
        running.append(1)
        await may_end.wait()
        return b""

    device = Device(UnaryCalls(ManualClock(), max_running=2))
    calls = [asyncio.create_task(device.call(answer=handle)) for _ in range(5)]
    await run_ready()
    assert len(running) == 2
    may_end.set()
    assert await asyncio.gather(*calls) == [b""] * 5


async def test_device_without_calls_takes_no_memory() -> None:
    calls = UnaryCalls(ManualClock())
    device = Device(calls)
    await device.call(LARGE)
    assert calls._devices
    await device.read()
    assert not calls._devices
