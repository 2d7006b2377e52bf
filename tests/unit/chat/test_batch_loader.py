"""Reading together: what waits is asked for once, in one go, and nobody is given what was read before they asked."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from chat_service.errors import StoreUnavailable
from chat_service.storage.batch_loader import BatchLoader
from tests.eventually import run_ready


class Store:
    """Answers when it is let; what it was asked for, in order."""

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


async def test_one_alone_is_asked_for_at_once_and_what_is_not_there_is_missing() -> None:
    store = Store()
    together = BatchLoader(store.ask)
    task = await wanted(together, "a", "x")
    assert store.asked == [{"a", "x"}]
    store.let()
    assert await task == {"a": 1}


async def test_what_gathers_meanwhile_is_asked_for_once_and_in_one_go() -> None:
    store = Store()
    together = BatchLoader(store.ask, max_concurrent=1)
    first, *others = [await wanted(together, *keys) for keys in ("a", "ab", "b", "bc")]
    assert store.asked == [{"a"}]
    store.let(2)
    assert await first == {"a": 1}
    assert [await other for other in others] == [{"a": 1, "b": 2}, {"b": 2}, {"b": 2, "c": 3}]
    assert store.asked == [{"a"}, {"a", "b", "c"}]


async def test_nobody_is_given_what_was_read_before_they_wanted_it() -> None:
    store = Store()
    together = BatchLoader(store.ask, max_concurrent=1)
    before = await wanted(together, "a")
    store.values["a"] = 100
    after = await wanted(together, "a")
    store.let(2)
    assert await before == {"a": 1}
    assert await after == {"a": 100}


async def test_an_ask_has_a_largest_size_and_only_so_many_are_under_way() -> None:
    store = Store()
    together = BatchLoader(store.ask, max_concurrent=2, max_keys=1)
    tasks = [await wanted(together, *"abc"), await wanted(together, "c")]
    assert store.asked == [{"a"}, {"b"}]
    store.let(3)
    assert [await task for task in tasks] == [{"a": 1, "b": 2, "c": 3}, {"c": 3}]
    assert store.asked == [{"a"}, {"b"}, {"c"}]


async def test_all_who_wanted_it_learn_that_it_failed_and_the_next_are_served() -> None:
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


async def test_what_cannot_be_had_fails_those_alone_who_want_it() -> None:
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


async def test_one_key_that_cannot_be_had_is_asked_for_once() -> None:
    store = Store()
    together = BatchLoader(store.ask)
    store.malformed.add("b")
    store.let(100)
    with pytest.raises(ValueError, match="malformed: b"):
        await together.get("b")
    assert store.asked == [{"b"}]


async def test_a_store_that_is_silent_is_not_asked_key_by_key() -> None:
    store = Store()
    together = BatchLoader(store.ask)
    store.silent = True
    store.let(100)
    with pytest.raises(StoreUnavailable):
        await together.get("abc")
    assert store.asked == [{"a", "b", "c"}]


async def test_nobody_waits_for_ever() -> None:
    store = Store()
    together = BatchLoader(store.ask, max_concurrent=1, timeout_s=0.01)
    with pytest.raises(StoreUnavailable):
        await together.get("a")
    # What follows shall succeed, however slow this machine is.
    together._timeout_s = 10.0
    store.let(2)
    assert await together.get("b") == {"b": 2}


async def test_who_goes_away_takes_nothing_from_others() -> None:
    store = Store()
    together = BatchLoader(store.ask, max_concurrent=1)
    gone, stays = await wanted(together, "a"), await wanted(together, "a")
    gone.cancel()
    store.let(2)
    assert await stays == {"a": 1}
    with pytest.raises(asyncio.CancelledError):
        await gone
