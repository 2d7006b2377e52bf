"""Reading for many at once: while one ask is under way, what others want meanwhile gathers for the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from chat_service.errors import StoreUnavailable

MAX_CONCURRENT_LOADS: Final = 2
MAX_KEYS: Final = 200
# Seconds; a store that does not answer is given up by each ask after half of it.
LOAD_TIMEOUT_S: Final = 10.0

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(slots=True, eq=False)
class _PendingBatch(Generic[Key, Value]):
    """What is wanted by some, and the answer they all get; `failed` tells why what is missing from it cannot be had."""

    answer: asyncio.Future[Mapping[Key, Value]]
    keys: set[Key] = field(default_factory=set)
    failed: dict[Key, Exception] = field(default_factory=dict)


class BatchLoader(Generic[Key, Value]):
    """Asks by `ask` for at most `most` keys in one go, `at_once` times at once; at rest an ask begins without delay.

    What is wanted twice before it is asked for is asked for once, so a crowd costs a store little more than one of it.
    Nobody is given what was read before they wanted it. What `ask` raises is told to those alone whose keys make
    it do so; StoreUnavailable, which says nothing of a key, to all who wait for that ask.
    """

    def __init__(
        self,
        load: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]],
        *,
        max_concurrent: int = MAX_CONCURRENT_LOADS,
        max_keys: int = MAX_KEYS,
        timeout_s: float = LOAD_TIMEOUT_S,
    ) -> None:
        self._ask = load
        self._most = max_keys
        self._patience = timeout_s
        self._room = max_concurrent
        # Those that run, and have not taken what waits yet.
        self._starting = 0
        self._waiting: deque[_PendingBatch[Key, Value]] = deque()
        self._places: dict[Key, _PendingBatch[Key, Value]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, keys: Collection[Key]) -> dict[Key, Value]:
        """What there is of `keys`. Raises what `ask` raises, and StoreUnavailable after `patience` seconds."""
        joined = {key: self._join(key) for key in keys}
        self._begin()
        found: dict[Key, Value] = {}
        try:
            async with asyncio.timeout(self._patience):
                for key, ask in joined.items():
                    # Others wait for it as well.
                    answer = await asyncio.shield(ask.answer)
                    if key in ask.failed:
                        raise ask.failed[key]
                    if key in answer:
                        found[key] = answer[key]
        except TimeoutError:
            raise StoreUnavailable("the store does not answer") from None
        return found

    def _join(self, key: Key) -> _PendingBatch[Key, Value]:
        ask = self._places.get(key)
        if ask is None:
            if not self._waiting or len(self._waiting[-1].keys) >= self._most:
                self._waiting.append(_PendingBatch(asyncio.get_running_loop().create_future()))
            ask = self._places[key] = self._waiting[-1]
            ask.keys.add(key)
        return ask

    def _begin(self) -> None:
        while self._room and len(self._waiting) > self._starting:
            self._room -= 1
            self._starting += 1
            # Nobody's time limits, nobody's trace: it is for all who wait.
            task = asyncio.create_task(self._run(), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _take(self) -> _PendingBatch[Key, Value]:
        self._starting -= 1
        ask = self._waiting.popleft()
        for key in ask.keys:
            del self._places[key]
        return ask

    async def _run(self) -> None:
        # Only now: who was ready together with the first wants it together with them.
        ask = self._take()
        try:
            ask.answer.set_result(await self._answer(ask, list(ask.keys)))
        except StoreUnavailable as error:
            ask.answer.set_exception(error)
            # Those who wanted it may be gone.
            ask.answer.exception()
        finally:
            ask.answer.cancel()
            self._room += 1
            self._begin()

    async def _answer(self, ask: _PendingBatch[Key, Value], keys: Sequence[Key]) -> Mapping[Key, Value]:
        """What there is of `keys`, asked for in halves when it cannot be had as a whole."""
        try:
            return await self._ask(keys)
        except StoreUnavailable:
            # Silence: to ask again and again would only make all wait for it.
            raise
        except Exception as error:  # noqa: BLE001  those who wanted it are told
            if len(keys) == 1:
                ask.failed[keys[0]] = error
                return {}
        middle = len(keys) // 2
        return {**await self._answer(ask, keys[:middle]), **await self._answer(ask, keys[middle:])}
