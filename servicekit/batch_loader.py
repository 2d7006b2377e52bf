"""A loader that joins concurrent reads into batches, so that many readers cost a store little more than one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from servicekit.errors import StoreUnavailable, Unavailable

MAX_CONCURRENT_LOADS: Final = 2
MAX_KEYS: Final = 200
# Twice the time limit of an operation of MongoDB: a reader may wait for a load that fails before its own begins.
LOAD_TIMEOUT_S: Final = 10.0

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(slots=True, eq=False)
class _PendingBatch(Generic[Key, Value]):
    """The keys of one load, the future of its result, and the errors of single keys."""

    result: asyncio.Future[Mapping[Key, Value]]
    keys: set[Key] = field(default_factory=set)
    errors: dict[Key, Exception] = field(default_factory=dict)


class BatchLoader(Generic[Key, Value]):
    """Calls `load` with batches of at most `max_keys` keys, `max_concurrent` batches at a time.

    A batch starts at once if fewer than `max_concurrent` loads run. Otherwise keys gather in the next batch, where each
    key is loaded once for all its readers. A reader never gets a value that was read before its request.
    Unavailable fails all readers of a batch. Any other error fails only the readers of the keys that cause it: the
    batch is split to find them.
    """

    def __init__(
        self,
        load: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]],
        *,
        max_concurrent: int = MAX_CONCURRENT_LOADS,
        max_keys: int = MAX_KEYS,
        timeout_s: float = LOAD_TIMEOUT_S,
    ) -> None:
        self._load = load
        self._max_keys = max_keys
        self._timeout_s = timeout_s
        self._free_slots = max_concurrent
        # Tasks that run and have not popped a batch yet.
        self._starting = 0
        self._waiting: deque[_PendingBatch[Key, Value]] = deque()
        self._batch_of: dict[Key, _PendingBatch[Key, Value]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, keys: Collection[Key]) -> dict[Key, Value]:
        """Return the values by key; keys without a value are absent.

        Raises what `load` raises, and StoreUnavailable after `timeout_s` seconds.
        """
        batches = {key: self._join_batch(key) for key in keys}
        self._start_loads()
        values: dict[Key, Value] = {}
        try:
            async with asyncio.timeout(self._timeout_s):
                # Shielded: other readers wait for the same futures.
                results = {batch: await asyncio.shield(batch.result) for batch in dict.fromkeys(batches.values())}
        except TimeoutError:
            raise StoreUnavailable("the store does not answer") from None
        for key, batch in batches.items():
            if key in batch.errors:
                raise batch.errors[key]
            if key in results[batch]:
                values[key] = results[batch][key]
        return values

    def _join_batch(self, key: Key) -> _PendingBatch[Key, Value]:
        batch = self._batch_of.get(key)
        if batch is None:
            if not self._waiting or len(self._waiting[-1].keys) >= self._max_keys:
                self._waiting.append(_PendingBatch(asyncio.get_running_loop().create_future()))
            batch = self._batch_of[key] = self._waiting[-1]
            batch.keys.add(key)
        return batch

    def _start_loads(self) -> None:
        while self._free_slots and len(self._waiting) > self._starting:
            self._free_slots -= 1
            self._starting += 1
            # An empty context: the deadline and the trace of one reader must not apply to the others.
            task = asyncio.create_task(self._run_load(), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _pop_batch(self) -> _PendingBatch[Key, Value]:
        self._starting -= 1
        batch = self._waiting.popleft()
        for key in batch.keys:
            del self._batch_of[key]
        return batch

    async def _run_load(self) -> None:
        # Pop the batch only now, so that readers that were ready together with the first one join it.
        batch = self._pop_batch()
        try:
            batch.result.set_result(await self._load_or_split(batch, list(batch.keys)))
        except Unavailable as error:
            batch.result.set_exception(error)
            # Mark the error as retrieved: all readers may have timed out or been cancelled.
            batch.result.exception()
        finally:
            batch.result.cancel()
            self._free_slots += 1
            self._start_loads()

    async def _load_or_split(self, batch: _PendingBatch[Key, Value], keys: Sequence[Key]) -> Mapping[Key, Value]:
        """Load the keys, or each half of them if that fails; record the error of a single key."""
        try:
            return await self._load(keys)
        except Unavailable:
            # The store failed, not a key: the halves would fail too, after all readers had waited for them.
            raise
        except Exception as error:  # noqa: BLE001  `get` raises it to the readers of the key
            if len(keys) == 1:
                batch.errors[keys[0]] = error
                return {}
        middle = len(keys) // 2
        first_half = await self._load_or_split(batch, keys[:middle])
        return {**first_half, **await self._load_or_split(batch, keys[middle:])}
