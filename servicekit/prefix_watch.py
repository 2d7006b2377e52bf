"""A prefix of etcd, followed: a list, then its changes, and a list again on every sign that something was missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol

import grpc
import structlog
from etcd3aio import EtcdError, prefix_range_end

SILENCE_TIMEOUT_S = 10.0
RETRY_INTERVAL_S = 0.5

_DELETE = 1

_log = structlog.get_logger("etcd")


class EtcdUnreachable(Exception):
    """etcd gave no answer in time, or none that helps; what was asked may have been done all the same."""


class Snapshot(NamedTuple):
    """Everything under a prefix as it was at one revision of the store; keys come without the prefix."""

    revision: int
    values: dict[str, bytes]


class EtcdReader(Protocol):
    """Where a following looks for itself. Both raise EtcdUnreachable."""

    async def list_prefix(self, prefix: str) -> Snapshot:
        """What stands under `prefix` now."""

    async def revision(self) -> int:
        """The revision of the whole store."""


class _EventsMissed(Exception):
    """Something may have happened that the watch did not tell."""


class PrefixWatch:
    """Snapshots of a prefix without end, each different from the last or newer.

    While etcd is away there are none, and nothing is raised for it. The library's watch hides three things that are
    found out here: that it connected anew, and may have skipped what happened meanwhile (a second `created`); that its
    revision was compacted (it would wait for ever); that it is cut off (it says nothing, so after SILENCE seconds the
    store is asked whether it went on).
    """

    def __init__(self, reader: EtcdReader, watch: Callable[..., AsyncGenerator[Any, None]], prefix: str) -> None:
        self._reader = reader
        self._watch = watch
        self._prefix = prefix

    async def __aiter__(self) -> AsyncIterator[Snapshot]:
        while True:
            snapshot = await self._list_until_reachable()
            yield snapshot
            async with aclosing(self._watch_from(snapshot)) as changes:
                async for changed in changes:
                    yield changed

    async def _list_until_reachable(self) -> Snapshot:
        while True:
            try:
                return await self._reader.list_prefix(self._prefix)
            except EtcdUnreachable:
                await asyncio.sleep(RETRY_INTERVAL_S)

    async def _watch_from(self, snapshot: Snapshot) -> AsyncGenerator[Snapshot, None]:
        """What happens after `snapshot`, until something may have been missed."""
        range_end = prefix_range_end(self._prefix)
        watch = self._watch(self._prefix, range_end, start_revision=snapshot.revision + 1)
        async with aclosing(_WatchResponses(watch)) as responses:
            try:
                await _await_created(responses, snapshot.revision)
                while True:
                    response = await responses.next(SILENCE_TIMEOUT_S)
                    if response is None:
                        await self._check_revision(snapshot)
                    elif response.created or response.canceled or response.compact_revision:
                        raise _EventsMissed
                    elif response.events:
                        snapshot = self._apply_events(snapshot, response.events)
                        yield snapshot
            except (_EventsMissed, EtcdUnreachable):
                return

    async def _check_revision(self, snapshot: Snapshot) -> None:
        if await self._reader.revision() != snapshot.revision:
            raise _EventsMissed

    def _apply_events(self, snapshot: Snapshot, events: Iterable[Any]) -> Snapshot:
        revision, values = snapshot.revision, dict(snapshot.values)
        for event in events:
            key = event.kv.key.decode().removeprefix(self._prefix)
            # The header's revision may be ahead of events that are still to come.
            revision = event.kv.mod_revision
            if event.type == _DELETE:
                values.pop(key, None)
            else:
                values[key] = bytes(event.kv.value)
        return Snapshot(revision, values)


class _WatchResponses:
    """The responses of a watch, awaited with patience: a wait that is given up does not end the watch."""

    def __init__(self, watch: AsyncGenerator[Any, None]) -> None:
        self._watch = watch
        self._next: asyncio.Task[Any] | None = None

    async def next(self, timeout: float) -> Any:
        """The next response; None after `timeout` seconds without one. Raises _Missed at the end."""
        if self._next is None:
            self._next = asyncio.create_task(self._read_next())
        await asyncio.wait({self._next}, timeout=timeout)
        if not self._next.done():
            return None
        response, self._next = self._next.result(), None
        if response is None:
            raise _EventsMissed
        return response

    async def aclose(self) -> None:
        """End the watch."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        await self._watch.aclose()

    async def _read_next(self) -> Any:
        try:
            return await anext(self._watch, None)
        except (grpc.aio.AioRpcError, EtcdError) as error:
            _log.warning("the watch ended", why=str(error))
            await asyncio.sleep(RETRY_INTERVAL_S)
            return None


async def _await_created(responses: _WatchResponses, revision: int) -> None:
    """Until the watch stands. Raises _Missed when it does not, or stands on a store that has lost its data."""
    response = await responses.next(SILENCE_TIMEOUT_S)
    if response is None or not response.created or response.canceled or response.header.revision < revision:
        raise _EventsMissed
