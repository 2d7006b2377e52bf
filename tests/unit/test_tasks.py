"""`gather_limited` returns results in order, bounds its concurrency, and leaves no call running after a failure."""

from __future__ import annotations

import asyncio

import pytest

from servicekit.tasks import gather_limited
from tests.eventually import run_ready


class Asked:
    """A call that counts its concurrency; a negative argument fails, and one of 100 or more hangs."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.now = self.most = 0

    async def ask(self, number: int) -> int:
        self.begun.append(number)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await run_ready()
            if number < 0:
                raise KeyError(number)
            if number >= 100:
                await asyncio.Event().wait()
            return -number
        finally:
            self.now -= 1


async def test_results_are_in_order_and_concurrency_is_limited() -> None:
    asked = Asked()
    assert await gather_limited(asked.ask, range(10), limit=3) == [-number for number in range(10)]
    assert asked.most == 3
    assert await gather_limited(asked.ask, [], limit=3) == []


async def test_first_failure_is_raised_and_other_calls_are_cancelled() -> None:
    asked = Asked()
    with pytest.raises(KeyError):
        await gather_limited(asked.ask, [100, -1, 101, 102], limit=2)
    assert asked.now == 0
    assert 102 not in asked.begun
