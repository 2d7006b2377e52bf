"""Some at once: in order, never more than there may be, and none left running when one fails."""

from __future__ import annotations

import asyncio

import pytest

from servicekit.tasks import gather_limited
from tests.eventually import run_ready


class Asked:
    """Counts who is under way; who is told to fail does so, and who is told to hang does."""

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


async def test_the_answers_are_in_order_and_a_few_are_asked_for_at_a_time() -> None:
    asked = Asked()
    assert await gather_limited(asked.ask, range(10), limit=3) == [-number for number in range(10)]
    assert asked.most == 3
    assert await gather_limited(asked.ask, [], limit=3) == []


async def test_the_first_failure_is_raised_as_it_is_and_nothing_is_left_running() -> None:
    asked = Asked()
    with pytest.raises(KeyError):
        await gather_limited(asked.ask, [100, -1, 101, 102], limit=2)
    assert asked.now == 0
    assert 102 not in asked.begun
