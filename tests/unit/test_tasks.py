"""`gather_limited` returns results in order, bounds its concurrency, and leaves no call running after a failure."""

from __future__ import annotations

import asyncio

import pytest

from servicekit.tasks import gather_limited
from tests.eventually import run_ready


class CallCounter:
    """A call that counts its concurrency; a negative argument fails, and one of 100 or more hangs."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.running = self.peak = 0

    async def call(self, number: int) -> int:
        self.begun.append(number)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await run_ready()
            if number < 0:
                raise KeyError(number)
            if number >= 100:
                await asyncio.Event().wait()
            return -number
        finally:
            self.running -= 1


async def test_results_are_in_order_and_concurrency_is_limited() -> None:
    counter = CallCounter()
    assert await gather_limited(counter.call, range(10), limit=3) == [-number for number in range(10)]
    assert counter.peak == 3
    assert await gather_limited(counter.call, [], limit=3) == []


async def test_first_failure_is_raised_and_other_calls_are_cancelled() -> None:
    counter = CallCounter()
    with pytest.raises(KeyError):
        await gather_limited(counter.call, [100, -1, 101, 102], limit=2)
    assert counter.running == 0
    assert 102 not in counter.begun
