"""The state of the change index on one server: its reachability, its generation, and the dirty servers.

Redis holds one sentinel per bucket of users, the number of the generation. In a cluster each bucket is on one primary,
and each primary is probed. A flush, a failover with loss or a new Redis leaves a bucket without the current sentinel;
the first server that notices advances the generation in MongoDB.
Only the server that advanced it writes the sentinels, so no sentinel stays valid for a bucket that has lost touches.

A server that cannot reach Redis marks itself dirty before it omits a touch. Clearing the last dirty server advances the
generation. A dirty server that has left the ring is cleared by the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextvars import Context
from typing import Final

import structlog
from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

from chat_service.storage import scripts
from chat_service.storage.generation_store import GenerationRecord, MongoGenerationStore
from servicekit.errors import StoreUnavailable
from servicekit.redis import UNREACHABLE, run_scripts
from servicekit.redis_cluster import list_primaries, primary_of, read_run_ids
from servicekit.retry import retry_while_unavailable
from servicekit.tasks import cancel_requested

BUCKETS: Final = [f"{number:02x}" for number in range(256)]
PROBE_INTERVAL_S: Final = 1.0
# The server that advanced the generation needs time to write the sentinels, more so while many devices resume. If
# another server advanced it again meanwhile, all those devices would have to resync once more.
SENTINEL_GRACE_S: Final = 2.0
RETRY_PAUSE_S: Final = 0.05

_outages = Counter("parley_index_outages", "Outages of the change index")
_up = Gauge("parley_index_up", "1 while the change index can be reached, else 0")
_dirty_servers = Gauge(
    "parley_index_dirty_servers", "Chat servers that omit touches; no cursor is issued while any does"
)
_generation = Gauge("parley_index_generation", "The current generation of the change index")

log = structlog.get_logger("storage.index")


class IndexGeneration:
    """The generation and reachability of the index as this server knows them.

    `server` names this process, from its start to its end; `list_ring_servers` returns the names of those in the ring.
    """

    def __init__(
        self,
        redis: Redis,
        store: MongoGenerationStore,
        server: str,
        list_ring_servers: Callable[[], Collection[str]],
    ) -> None:
        self._redis = redis
        self._store = store
        self._server = server
        self._list_ring_servers = list_ring_servers
        self._current = GenerationRecord(0, "")
        self._adopted_at = float("-inf")
        self._absent_servers: frozenset[str] = frozenset()
        self._lock = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._probe_task: asyncio.Task[None] | None = None
        self.reachable = True

    @property
    def number(self) -> int:
        """The number of the current generation."""
        return self._current.number

    @property
    def complete(self) -> bool:
        """True while the index can be reached and no server is dirty, so that cursors may be issued."""
        return self.reachable and not self._current.dirty_servers

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the generation has advanced."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Load the generation and compare the index with it."""
        self._adopt(await self._store.load())
        await self._probe()

    async def run(self) -> None:
        """Probe the index and watch the generation in MongoDB until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._probe_loop())
            group.create_task(self._watch_loop())

    async def begin_outage(self, error: Exception) -> None:
        """Mark this server dirty; once this returns, sends may be acknowledged without a touch."""
        async with self._lock:
            # Another server may have declared this one dead and cleared its mark.
            if self.reachable or self._server not in self._current.dirty_servers:
                await self._enter_outage(error)

    async def probe(self) -> None:
        """Probe the index, and begin an outage if it cannot be reached. Concurrent calls share one probe."""
        if self._probe_task is None or self._probe_task.done():
            # An empty context: its log lines concern no single call.
            self._probe_task = asyncio.create_task(self._probe(), context=Context())
        await asyncio.shield(self._probe_task)

    async def reconcile(self, bucket: scripts.BucketArguments, expected: int, sentinel: bytes) -> None:
        """Resolve a sentinel that is not of the `expected` generation.

        An older one may still be about to be written: within SENTINEL_GRACE_S, only wait RETRY_PAUSE_S. Otherwise load
        the generation. If that is not newer and the sentinel still differs, the bucket has lost data: advance it.
        """
        newer = scripts.parse_generation(sentinel) > expected
        if not newer and asyncio.get_running_loop().time() - self._adopted_at < SENTINEL_GRACE_S:
            # Outside the lock: if many callers queued for it, the last would act on a sentinel read seconds ago.
            await asyncio.sleep(RETRY_PAUSE_S)
            return
        async with self._lock:
            if self._current.number != expected:
                return
            record = await retry_while_unavailable("load_generation", self._store.load)
            if record.number > expected:
                self._adopt(record)
            elif (current := await self._read_sentinel(bucket)) not in (expected, None) and (
                run_id := await self._check_writable()
            ):
                log.warning("change index lost data", sentinel=current, generation=expected)
                await self._on_advanced(
                    *await retry_while_unavailable("advance_generation", lambda: self._store.advance(record, run_id))
                )

    async def _read_sentinel(self, bucket: scripts.BucketArguments) -> int | None:
        """Return the generation of a bucket's sentinel: 0 if it has none, None if Redis cannot be reached."""
        try:
            return scripts.parse_generation(await self._redis.get(bucket.keys[0]))
        except UNREACHABLE:
            return None

    async def _on_advanced(self, record: GenerationRecord, by_this_server: bool) -> None:
        """Adopt the record; if this server advanced the generation, write the sentinels."""
        self._adopt(record)
        if not by_this_server:
            return
        try:
            calls = [scripts.sentinel_arguments(each).call(scripts.WRITE_SENTINEL, record.number) for each in BUCKETS]
            await self._redis.script_load(scripts.WRITE_SENTINEL.text)
            await run_scripts(self._redis, calls)
        except UNREACHABLE as error:
            await self._enter_outage(error)

    async def _enter_outage(self, error: Exception) -> None:
        self._adopt(await retry_while_unavailable("mark_dirty", lambda: self._store.mark_dirty(self._server)))
        if not self.reachable:
            return
        self.reachable = False
        _up.set(0)
        _outages.inc()
        log.warning("change index outage began", error=str(error) or type(error).__name__)

    def _adopt(self, record: GenerationRecord) -> None:
        if record.number < self._current.number:
            return
        previous, self._current = self._current, record
        _dirty_servers.set(len(record.dirty_servers))
        if record.number == previous.number:
            return
        self._adopted_at = asyncio.get_running_loop().time()
        _generation.set(record.number)
        log.info("generation changed", number=record.number)
        for listener in self._listeners if previous.number else []:
            listener()

    async def _probe_loop(self) -> None:
        while not cancel_requested():
            await asyncio.sleep(PROBE_INTERVAL_S)
            await self.probe()
            await self._clear_dead_servers()

    async def _probe(self) -> None:
        """Detect an outage, its end, a change of the Redis run id, and a flush that no touch has detected."""
        run_id = await self._check_writable()
        if not run_id:
            await self.begin_outage(RedisError("the probe failed"))
            return
        if not self.reachable or run_id != self._current.run_id or self._server in self._current.dirty_servers:
            await self._recover(run_id)
        _up.set(1)
        number = self._current.number
        try:
            buckets = [scripts.read_arguments(bucket * 16, 0) for bucket in await self._list_probed_buckets()]
            replies = await run_scripts(self._redis, [bucket.call(scripts.READ, number) for bucket in buckets])
        except UNREACHABLE as error:
            await self.begin_outage(error)
            return
        for bucket, reply in zip(buckets, replies, strict=True):
            if not isinstance(reply, list):
                await self.reconcile(bucket, number, reply)

    async def _recover(self, run_id: str) -> None:
        """End an outage or adopt a new run id. Touches may be lost, so clear this server to advance the generation."""
        async with self._lock:
            self._adopt(await retry_while_unavailable("load_generation", self._store.load))
            if self.reachable and run_id == self._current.run_id and self._server not in self._current.dirty_servers:
                return
            log.info("change index recovered", run_id=run_id)
            self.reachable = True
            await self._clear_dirty([self._server], run_id)

    async def _clear_dead_servers(self) -> None:
        """Clear dirty servers absent from the ring at two consecutive probes: this server's ring may lag once."""
        if not self.reachable:
            return
        in_ring = frozenset(self._list_ring_servers())
        absent = self._current.dirty_servers - in_ring - {self._server} if in_ring else frozenset()
        dead, self._absent_servers = self._absent_servers & absent, absent
        if dead:
            log.warning("dirty servers left the ring", servers=sorted(dead))
            async with self._lock:
                await self._clear_dirty(dead, "")

    async def _clear_dirty(self, servers: Collection[str], run_id: str) -> None:
        await self._on_advanced(
            *await retry_while_unavailable("clear_dirty", lambda: self._store.clear_dirty(servers, run_id))
        )

    async def _check_writable(self) -> str:
        """Return the run id of Redis, or those of the primaries of a cluster, if it accepts writes, else ""."""
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for bucket in await self._list_probed_buckets():
                    pipeline.set(scripts.probe_key(bucket), self._server)
                await pipeline.execute()
            return await read_run_ids(self._redis)
        except UNREACHABLE:
            return ""

    async def _list_probed_buckets(self) -> list[str]:
        """Return one bucket for each primary that has any."""
        await list_primaries(self._redis)
        by_primary = {primary_of(self._redis, scripts.sentinel_key(bucket)): bucket for bucket in reversed(BUCKETS)}
        return list(by_primary.values())

    async def _watch_loop(self) -> None:
        while not cancel_requested():
            try:
                async for record in self._store.watch():
                    self._adopt(record)
            except StoreUnavailable as failure:
                log.warning("generation watch failed", error=failure.message)
            await asyncio.sleep(PROBE_INTERVAL_S)
