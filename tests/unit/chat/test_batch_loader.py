"""A batch loader merges waiting keys into one query and never returns a value that was read before its request."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from chat_service.errors import StoreUnavailable
from chat_service.storage.batch_loader import BatchLoader
from tests.eventually import run_ready


class Store:
    """A store that records its queries and answers each when the test releases it."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.values = {"a": 1, "b": 2, "c": 3}
        self.fails = False
        self.silent = False
        self.malformed: set[str] = set()
        self._go = asyncio.Semaphore(0)

    async def ask(self, keys: Collection[str]) -> dict[str, int]:
        self.asked.append(set(keys))
        found = {key: self.values[key] for key in keys if key in self.values}
        await self._go.acquire()
        if self.fails:
            raise RuntimeError("no store")
        if self.silent:
            raise StoreUnavailable
        if bad := self.malformed & set(keys):
            raise ValueError(f"malformed: {', '.join(bad)}")
        return found

    def let(self, count: int = 1) -> None:
        for _ in range(count):
            self._go.release()


async def wanted(together: BatchLoader[str, int], *keys: str) -> asyncio.Task[dict[str, int]]:
    task = asyncio.create_task(together.get(keys))
    await run_ready()
    return task


async def test_single_request_is_queried_at_once_and_omits_missing_keys() -> None:
    store = Store()
    together = BatchLoader(store.ask)
    task = await wanted(together, "a", "x")
    assert store.asked == [{"a", "x"}]
    store.let()
    assert await task == {"a": 1}


async def test_waiting_keys_are_queried_once_in_one_batch() -> None:
    store = Store()
    together = BatchLoader(store.ask, max_concurrent=1)
    first, *others = [await wanted(together, *keys) for keys in ("a", "ab", "b", "bc")]
    assert store.asked == [{"a"}]
    store.let(2)
    assert await first == {"a": 1}
    assert [await other for other in others] == [{"a": 1, "b": 2}, {"b": 2}, {"b": 2, "c": 3}]
    assert store.asked == [{"a"}, {"a", "b", "c"}]


async def test_request_never_gets_an_earlier_read() -> None:
    store = Store()
    together = BatchLoader(store.ask, max_concurrent=1)
    before = await wanted(together, "a")
    store.values["a"] = 100
    after = await wanted(together, "a")
    store.let(2)
    assert await before == {"a": 1}
    assert await after == {"a": 100}


async def test_batch_size_and_concurrency_are_limited() -> None:
    store = Store()
    together = BatchLoader(store.ask, max_concurrent=2, max_keys=1)
    tasks = [await wanted(together, *"abc"), await wanted(together, "c")]
    assert store.asked == [{"a"}, {"b"}]
    store.let(3)
    assert [await task for task in tasks] == [{"a": 1, "b": 2, "c": 3}, {"c": 3}]
    assert store.asked == [{"a"}, {"b"}, {"c"}]


async def test_failed_batch_fails_its_requests_and_later_ones_succeed() -> None:
    store = Store()
    together = BatchLoader(store.ask, max_concurrent=1)
    store.fails = True
    tasks = [await wanted(together, "a"), await wanted(together, "b"), await wanted(together, "b")]
    store.let(2)
    for task in tasks:
        with pytest.raises(RuntimeError, match="no store"):
            await task
    store.fails = False
    store.let()
    assert await together.get("c") == {"c": 3}


async def test_malformed_key_fails_only_its_requests() -> None:
    store = Store()
    together = BatchLoader(store.ask, max_concurrent=1)
    store.malformed.add("b")
    tasks = [await wanted(together, *keys) for keys in ("x", "a", "bc", "c", "cy", "a")]
    store.let(100)
    assert [await tasks[number] for number in (0, 1, 3, 4, 5)] == [{}, {"a": 1}, {"c": 3}, {"c": 3}, {"a": 1}]
    with pytest.raises(ValueError, match="malformed: b"):
        await tasks[2]
    assert store.asked[:2] == [{"x"}, {"a", "b", "c", "y"}]
    assert all(len(keys) < 4 for keys in store.asked[2:])
    assert {"b"} in store.asked


async def test_single_malformed_key_is_queried_once() -> None:
    store = Store()
    together = BatchLoader(store.ask)
    store.malformed.add("b")
    store.let(100)
    with pytest.raises(ValueError, match="malformed: b"):
        await together.get("b")
    assert store.asked == [{"b"}]


async def test_unavailable_store_is_not_queried_key_by_key() -> None:
    store = Store()
    together = BatchLoader(store.ask)
    store.silent = True
    store.let(100)
    with pytest.raises(StoreUnavailable):
        await together.get("abc")
    assert store.asked == [{"a", "b", "c"}]


async def test_waiting_request_times_out() -> None:
    store = Store()
    together = BatchLoader(store.ask, max_concurrent=1, timeout_s=0.01)
    with pytest.raises(StoreUnavailable):
        await together.get("a")
    # The next request must succeed on a slow machine.
    together._timeout_s = 10.0
    store.let(2)
    assert await together.get("b") == {"b": 2}


async def test_cancelled_request_does_not_affect_others() -> None:
    store = Store()
    together = BatchLoader(store.ask, max_concurrent=1)
    gone, stays = await wanted(together, "a"), await wanted(together, "a")
    gone.cancel()
    store.let(2)
    assert await stays == {"a": 1}
    with pytest.raises(asyncio.CancelledError):
        await gone
