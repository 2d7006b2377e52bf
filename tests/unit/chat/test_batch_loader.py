"""A batch loader merges waiting keys into one query and never returns a value that was read before its request."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from servicekit.batch_loader import BatchLoader
from servicekit.errors import StoreUnavailable
from tests.eventually import run_ready


class ManualStore:
    """A store that records its queries and answers each when the test releases it."""

    def __init__(self) -> None:
        self.queries: list[set[str]] = []
        self.values = {"a": 1, "b": 2, "c": 3}
        self.fails = False
        self.silent = False
        self.malformed: set[str] = set()
        self._go = asyncio.Semaphore(0)

    async def query(self, keys: Collection[str]) -> dict[str, int]:
        self.queries.append(set(keys))
        found = {key: self.values[key] for key in keys if key in self.values}
        await self._go.acquire()
        if self.fails:
            raise RuntimeError("no store")
        if self.silent:
            raise StoreUnavailable
        if bad := self.malformed & set(keys):
            raise ValueError(f"malformed: {', '.join(bad)}")
        return found

    def release(self, count: int = 1) -> None:
        for _ in range(count):
            self._go.release()


async def start_request(loader: BatchLoader[str, int], *keys: str) -> asyncio.Task[dict[str, int]]:
    task = asyncio.create_task(loader.get(keys))
    await run_ready()
    return task


async def test_single_request_is_queried_at_once_and_omits_missing_keys() -> None:
    store = ManualStore()
    loader = BatchLoader(store.query)
    task = await start_request(loader, "a", "x")
    assert store.queries == [{"a", "x"}]
    store.release()
    assert await task == {"a": 1}


async def test_waiting_keys_are_queried_once_in_one_batch() -> None:
    store = ManualStore()
    loader = BatchLoader(store.query, max_concurrent=1)
    first, *others = [await start_request(loader, *keys) for keys in ("a", "ab", "b", "bc")]
    assert store.queries == [{"a"}]
    store.release(2)
    assert await first == {"a": 1}
    assert [await other for other in others] == [{"a": 1, "b": 2}, {"b": 2}, {"b": 2, "c": 3}]
    assert store.queries == [{"a"}, {"a", "b", "c"}]


async def test_request_never_gets_an_earlier_read() -> None:
    store = ManualStore()
    loader = BatchLoader(store.query, max_concurrent=1)
    before = await start_request(loader, "a")
    store.values["a"] = 100
    after = await start_request(loader, "a")
    store.release(2)
    assert await before == {"a": 1}
    assert await after == {"a": 100}


async def test_batch_size_and_concurrency_are_limited() -> None:
    store = ManualStore()
    loader = BatchLoader(store.query, max_concurrent=2, max_keys=1)
    tasks = [await start_request(loader, *"abc"), await start_request(loader, "c")]
    assert store.queries == [{"a"}, {"b"}]
    store.release(3)
    assert [await task for task in tasks] == [{"a": 1, "b": 2, "c": 3}, {"c": 3}]
    assert store.queries == [{"a"}, {"b"}, {"c"}]


async def test_failed_batch_fails_its_requests_and_later_ones_succeed() -> None:
    store = ManualStore()
    loader = BatchLoader(store.query, max_concurrent=1)
    store.fails = True
    tasks = [await start_request(loader, "a"), await start_request(loader, "b"), await start_request(loader, "b")]
    store.release(2)
    for task in tasks:
        with pytest.raises(RuntimeError, match="no store"):
            await task
    store.fails = False
    store.release()
    assert await loader.get("c") == {"c": 3}


async def test_malformed_key_fails_only_its_requests() -> None:
    store = ManualStore()
    loader = BatchLoader(store.query, max_concurrent=1)
    store.malformed.add("b")
    tasks = [await start_request(loader, *keys) for keys in ("x", "a", "bc", "c", "cy", "a")]
    store.release(100)
    assert [await tasks[number] for number in (0, 1, 3, 4, 5)] == [{}, {"a": 1}, {"c": 3}, {"c": 3}, {"a": 1}]
    with pytest.raises(ValueError, match="malformed: b"):
        await tasks[2]
    assert store.queries[:2] == [{"x"}, {"a", "b", "c", "y"}]
    assert all(len(keys) < 4 for keys in store.queries[2:])
    assert {"b"} in store.queries


async def test_single_malformed_key_is_queried_once() -> None:
    store = ManualStore()
    loader = BatchLoader(store.query)
    store.malformed.add("b")
    store.release(100)
    with pytest.raises(ValueError, match="malformed: b"):
        await loader.get("b")
    assert store.queries == [{"b"}]


async def test_unavailable_store_is_not_queried_key_by_key() -> None:
    store = ManualStore()
    loader = BatchLoader(store.query)
    store.silent = True
    store.release(100)
    with pytest.raises(StoreUnavailable):
        await loader.get("abc")
    assert store.queries == [{"a", "b", "c"}]


async def test_waiting_request_times_out() -> None:
    store = ManualStore()
    loader = BatchLoader(store.query, max_concurrent=1, timeout_s=0.01)
    with pytest.raises(StoreUnavailable):
        await loader.get("a")
    # The next request must succeed on a slow machine.
    loader._timeout_s = 10.0
    store.release(2)
    assert await loader.get("b") == {"b": 2}


async def test_cancelled_request_does_not_affect_others() -> None:
    store = ManualStore()
    loader = BatchLoader(store.query, max_concurrent=1)
    gone, stays = await start_request(loader, "a"), await start_request(loader, "a")
    gone.cancel()
    store.release(2)
    assert await stays == {"a": 1}
    with pytest.raises(asyncio.CancelledError):
        await gone
