"""A watch of an etcd prefix: a snapshot, then events, and a new snapshot whenever events may have been missed."""

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
    """etcd did not answer in time, or answered with an error; it may have applied the request nevertheless."""


class EtcdRefused(EtcdUnreachable):
    """etcd refuses the certificate, the user or the rights of this client; the message says what must be mended."""


class Snapshot(NamedTuple):
    """The keys and values under a prefix at one revision of the store; the keys come without the prefix."""

    revision: int
    values: dict[str, bytes]


class EtcdReader(Protocol):
    """The reads that a PrefixWatch needs in addition to the watch. Both raise EtcdUnreachable."""

    async def list_prefix(self, prefix: str) -> Snapshot:
        """Return a snapshot of `prefix` now."""

    async def revision(self) -> int:
        """Return the revision of the store."""


class _EventsMissed(Exception):
    """The watch may have missed events."""


class PrefixWatch:
    """An endless iterator over snapshots of a prefix; each differs from the last one or is newer.

    It yields nothing and raises nothing while etcd is unreachable. The library's watch hides three conditions, which
    are detected here. It reconnected, and may have skipped events: a second `created` response. Its start revision was
    compacted, and it would wait forever. It is cut off: after SILENCE_TIMEOUT_S without a response, the revision of
    the store is compared.
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
        """Yield a snapshot after each event that follows `snapshot`; return when events may have been missed."""
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
            # The revision of the response's header may be ahead of events that are still to come.
            revision = event.kv.mod_revision
            if event.type == _DELETE:
                values.pop(key, None)
            else:
                values[key] = bytes(event.kv.value)
        return Snapshot(revision, values)


class _WatchResponses:
    """The responses of a watch; a wait that times out does not cancel the watch."""

    def __init__(self, watch: AsyncGenerator[Any, None]) -> None:
        self._watch = watch
        self._next: asyncio.Task[Any] | None = None

    async def next(self, timeout: float) -> Any:
        """Return the next response, None after `timeout` seconds without one. Raise _EventsMissed at the end."""
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
        """Cancel the watch."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        await self._watch.aclose()

    async def _read_next(self) -> Any:
        try:
            return await anext(self._watch, None)
        except (grpc.aio.AioRpcError, EtcdError) as error:
            _log.warning("etcd watch ended", error=str(error))
            await asyncio.sleep(RETRY_INTERVAL_S)
            return None


async def _await_created(responses: _WatchResponses, revision: int) -> None:
    """Wait for the `created` response. Raise _EventsMissed if none comes, or if the store's revision went backwards."""
    response = await responses.next(SILENCE_TIMEOUT_S)
    if response is None or not response.created or response.canceled or response.header.revision < revision:
        raise _EventsMissed
