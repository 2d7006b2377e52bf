"""Calls wait for a slot in turn by key, and are refused early when too many wait."""

import asyncio

import pytest

from chat_service.accounts.fair_queue import FairQueue
from servicekit.errors import ServerBusy
from tests.eventually import run_ready


class Callers:
    """Callers of a queue with one slot, in the order in which they got it."""

    def __init__(self, *, max_waiting: int = 100, max_waiting_per_key: int = 100) -> None:
        self.queue = FairQueue(1, max_waiting=max_waiting, max_waiting_per_key=max_waiting_per_key)
        self.served: list[str] = []

    async def call(self, key: str) -> asyncio.Task[None]:
        """Let a caller of `key` wait for the slot, and keep it."""

        async def acquire() -> None:
            await self.queue.acquire(key)
            self.served.append(key)

        task = asyncio.create_task(acquire())
        await run_ready()
        return task

    async def release_all(self) -> str:
        """Release the slot until nobody waits, and return the keys that got it in order."""
        while self.queue._waiting:
            self.queue.release()
            await run_ready()
        return "".join(self.served)


async def test_one_key_with_many_calls_does_not_delay_others() -> None:
    callers = Callers()
    for key in "aaaaaabbc":
        await callers.call(key)
    assert await callers.release_all() == "aabcabaaa"


async def test_call_of_a_key_with_many_waiting_calls_is_refused_with_a_delay() -> None:
    callers = Callers(max_waiting_per_key=2)
    tasks = [await callers.call(key) for key in "aaab"]
    with pytest.raises(ServerBusy) as refused:
        await callers.queue.acquire("a")
    assert refused.value.retry_after
    assert await callers.release_all() == "aaba"
    assert all(task.done() for task in tasks)


async def test_full_queue_has_room_for_a_key_that_waits_less_than_others() -> None:
    callers = Callers(max_waiting=3)
    tasks = [await callers.call(key) for key in "aaaa"]
    await callers.call("b")
    assert isinstance(tasks[-1].exception(), ServerBusy)
    await callers.call("c")
    assert isinstance(tasks[-2].exception(), ServerBusy)
    with pytest.raises(ServerBusy):
        await callers.queue.acquire("d")
    assert await callers.release_all() == "aabc"


async def test_cancelled_calls_lose_no_slot() -> None:
    callers = Callers()
    first, second, third = [await callers.call(key) for key in "aab"]
    assert first.done()
    second.cancel()
    callers.queue.release()
    # The slot is granted and the call cancelled in the same moment.
    third.cancel()
    await run_ready()
    last = await callers.call("c")
    assert last.done()
    assert callers.served == ["a", "c"]
