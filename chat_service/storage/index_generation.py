"""The life of the change index: its outages and losses, and the generation that moves on with each.

Keys share a hash tag per bucket of users, and each bucket holds a sentinel with the generation: a flush, a lost
failover or another Redis shows at once, and the generation in MongoDB moves on. Only who moved it on writes the
sentinels; so a sentinel never outlives what it vouches for. Who cannot reach the index writes down that it owes before
it leaves anything unnoted; the generation moves on when the last debt is settled, and who died owing is settled for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import structlog
from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

from chat_service.errors import StoreUnavailable
from chat_service.owner.retry import retry_while_unavailable
from chat_service.storage import scripts
from chat_service.storage.generation_store import GenerationRecord, MongoGenerationStore
from servicekit.tasks import cancel_requested

BUCKETS: Final = [f"{number:02x}" for number in range(256)]
PROBE_INTERVAL_S: Final = 1.0
PROBE_KEY: Final = "parley:probe"
# Who moved the generation on needs a moment to write the sentinels, also one that is busy with a crowd that comes back:
# were it moved on again meanwhile, the crowd would have to begin anew.
SENTINEL_GRACE_S: Final = 2.0
RETRY_PAUSE_S: Final = 0.05
UNREACHABLE: Final = (RedisError, OSError, TimeoutError)

_outages = Counter("parley_index_outages", "Outages of the change index")
_up = Gauge("parley_index_up", "Whether the change index can be reached")
_dirty_servers = Gauge("parley_index_owing", "Chat servers that leave changes unnoted; nobody gets a cursor meanwhile")
_generation = Gauge("parley_index_generation", "The generation of the change index")

log = structlog.get_logger("storage.index")


class IndexGeneration:
    """What one server, `me`, knows of the index. `alive` tells who may still owe: names as `me` is one."""

    def __init__(
        self, redis: Redis, record: MongoGenerationStore, me: str, alive: Callable[[], Collection[str]]
    ) -> None:
        self._redis = redis
        self._record = record
        self._me = me
        self._alive = alive
        self._current = GenerationRecord(0, "")
        self._adopted_at = float("-inf")
        self._seen_dead: frozenset[str] = frozenset()
        self._lock = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._probing: asyncio.Task[None] | None = None
        self.reachable = True

    @property
    def number(self) -> int:
        """The generation in force, as far as this server knows."""
        return self._current.number

    @property
    def complete(self) -> bool:
        """Whether everything that changed is in the index, as far as this server knows."""
        return self.reachable and not self._current.dirty_servers

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the generation has moved on."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Learn the generation, and see whether the index is of it."""
        self._adopt(await self._record.load())
        await self._probe()

    async def run(self) -> None:
        """Look after the index until cancelled: its outages, losses, debts, and what others do about them."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._probe_loop())
            group.create_task(self._watch_loop())

    async def begin_outage(self, error: Exception) -> None:
        """Write down that this server owes; only then is it safe to acknowledge what is not noted."""
        async with self._lock:
            # Somebody may have taken this server for dead, and settled for it.
            if self.reachable or self._me not in self._current.dirty_servers:
                await self._enter_outage(error)

    async def probe(self) -> None:
        """Find out whether the index can be reached, once for all who ask meanwhile; if not, an outage begins."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe())
        await asyncio.shield(self._probing)

    async def reconcile(self, part: scripts.BucketArguments, asked: int, found: bytes) -> None:
        """The sentinel of a bucket is not of the generation asked with: catch up, wait, or move the generation on."""
        newer = scripts.parse_generation(found) > asked
        if not newer and asyncio.get_running_loop().time() - self._adopted_at < SENTINEL_GRACE_S:
            # Outside the lock: of a crowd that waits, the last must not come with what was found seconds ago.
            await asyncio.sleep(RETRY_PAUSE_S)
            return
        async with self._lock:
            if self._current.number != asked:
                return
            now = await retry_while_unavailable("load_generation", self._record.load)
            if now.number > asked:
                self._adopt(now)
            elif (vouched := await self._read_sentinel(part)) not in (asked, None) and (run_id := await self._run_id()):
                log.warning("the change index has lost something", sentinel=vouched, generation=asked)
                await self._on_advanced(
                    *await retry_while_unavailable("move_generation", lambda: self._record.advance(now, run_id))
                )

    async def _read_sentinel(self, part: scripts.BucketArguments) -> int | None:
        """Of which generation a bucket is whole, as it says now; 0 if it says none, None if it cannot be asked."""
        try:
            return scripts.parse_generation(await self._redis.get(part.keys[0]))
        except UNREACHABLE:
            return None

    async def _on_advanced(self, generation: GenerationRecord, ours: bool) -> None:
        """The generation is another; if this server moved it on, it writes the sentinels."""
        self._adopt(generation)
        if not ours:
            return
        try:
            vouchers = [
                scripts.WRITE_SENTINEL.call(scripts.sentinel_arguments(each), generation.number) for each in BUCKETS
            ]
            await self._redis.script_load(scripts.WRITE_SENTINEL.text)
            await scripts.run_scripts(self._redis, vouchers)
        except UNREACHABLE as error:
            await self._enter_outage(error)

    async def _enter_outage(self, error: Exception) -> None:
        self._adopt(await retry_while_unavailable("owe", lambda: self._record.mark_dirty(self._me)))
        if not self.reachable:
            return
        self.reachable = False
        _up.set(0)
        _outages.inc()
        log.warning("the change index cannot be reached", error=str(error) or type(error).__name__)

    def _adopt(self, generation: GenerationRecord) -> None:
        if generation.number < self._current.number:
            return
        before, self._current = self._current, generation
        _dirty_servers.set(len(generation.dirty_servers))
        if generation.number == before.number:
            return
        self._adopted_at = asyncio.get_running_loop().time()
        _generation.set(generation.number)
        log.info("generation", number=generation.number)
        for listener in self._listeners if before.number else []:
            listener()

    async def _probe_loop(self) -> None:
        while not cancel_requested():
            await asyncio.sleep(PROBE_INTERVAL_S)
            await self.probe()
            await self._clear_dead_servers()

    async def _probe(self) -> None:
        """Notice an outage, its end, another Redis, and a flush that no touch has met."""
        run_id = await self._run_id()
        if not run_id:
            await self.begin_outage(RedisError("no answer to a probe"))
            return
        if not self.reachable or run_id != self._current.run_id or self._me in self._current.dirty_servers:
            await self._recover(run_id)
        _up.set(1)
        part, number = scripts.read_arguments("00" * 16, 0), self._current.number
        try:
            answers = await scripts.run_scripts(self._redis, [scripts.READ.call(part, number)])
        except UNREACHABLE as error:
            await self.begin_outage(error)
            return
        if not isinstance(answers[0], list):
            await self.reconcile(part, number, answers[0])

    async def _recover(self, run_id: str) -> None:
        """The index is back, or is another one: what was noted meanwhile, or in the old one, may be missing."""
        async with self._lock:
            self._adopt(await retry_while_unavailable("load_generation", self._record.load))
            if self.reachable and run_id == self._current.run_id and self._me not in self._current.dirty_servers:
                return
            log.info("the change index begins anew", run_id=run_id)
            self.reachable = True
            await self._clear_dirty([self._me], run_id)

    async def _clear_dead_servers(self) -> None:
        """Settle for servers that are in no ring any more; seen twice, for this one's ring may be as new as it is."""
        if not self.reachable:
            return
        alive = frozenset(self._alive())
        before, self._seen_dead = (
            self._seen_dead,
            self._current.dirty_servers - alive - {self._me} if alive else frozenset(),
        )
        if dead := before & self._seen_dead:
            log.warning("who left the ring owed", servers=sorted(dead))
            async with self._lock:
                await self._clear_dirty(dead, "")

    async def _clear_dirty(self, debtors: Collection[str], run_id: str) -> None:
        await self._on_advanced(
            *await retry_while_unavailable("settle", lambda: self._record.clear_dirty(debtors, run_id))
        )

    async def _run_id(self) -> str:
        """The run id of a Redis that takes writes; empty if there is none."""
        try:
            await self._redis.set(PROBE_KEY, self._me)
            return str((await self._redis.info("server"))["run_id"])
        except UNREACHABLE:
            return ""

    async def _watch_loop(self) -> None:
        while not cancel_requested():
            try:
                async for generation in self._record.watch():
                    self._adopt(generation)
            except StoreUnavailable as failure:
                log.warning("cannot follow the generation", error=failure.message)
            await asyncio.sleep(PROBE_INTERVAL_S)
