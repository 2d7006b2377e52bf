"""The change index in Redis: per user an ordered set of conversations, scored by Redis's own clock.

It is a hint that may be lost as a whole, and never in part unnoticed. Keys share a hash tag per bucket of users, and
each bucket holds a sentinel with the generation, which every script compares: a flush, a lost failover or another Redis
shows at once, and the generation in MongoDB moves on. Only who moved it on writes the sentinels; so a sentinel
never outlives what it vouches for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

import structlog
from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from chat_service.errors import StoreUnavailable
from chat_service.model.cursor import Cursor, Reading, Resync
from chat_service.owner.patience import stubbornly
from chat_service.storage import scripts
from chat_service.storage.generation import Generation, MongoGeneration
from servicekit.ending import asked_to_end

BUCKETS: Final = [f"{number:02x}" for number in range(256)]
MARGIN_MS: Final = 60_000
PROBE_S: Final = 1.0
# Who moved the generation on needs a moment to write the sentinels.
GRACE_S: Final = 0.5
PAUSE_S: Final = 0.05
TRIES: Final = 40
UNREACHABLE: Final = (RedisError, OSError, TimeoutError)

_touches = Counter("parley_index_touches", "Touches written to the change index")
_outages = Counter("parley_index_outages", "Outages of the change index")
_up = Gauge("parley_index_up", "Whether the change index can be reached")
_generation = Gauge("parley_index_generation", "The generation of the change index")

log = structlog.get_logger("storage.index")


class RedisIndex:
    """Implements the owner's Index and the history's. `touch` and `read` never raise for a Redis that fails."""

    def __init__(self, redis: Redis, generation: MongoGeneration) -> None:
        self._redis = redis
        self._record = generation
        self._now = Generation(0, "")
        self._adopted_at = float("-inf")
        self._reachable = True
        self._lock = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []

    @property
    def generation(self) -> int:
        """The generation in force, as far as this server knows."""
        return self._now.number

    def on_generation(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the generation has moved on."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Learn the generation, and see whether the index is of it."""
        self._adopt(await self._record.load())
        await self._probe()

    async def run(self) -> None:
        """Look after the index until cancelled: its outages, losses, and generations moved on by others."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._probe_for_ever())
            group.create_task(self._follow())

    async def touch(self, touches: Mapping[str, Collection[str]]) -> None:
        """Note for each conversation that it changed for these users."""
        calls = scripts.touches(touches)
        for _ in range(TRIES):
            # During an outage nothing is noted: the generation has moved on, and will again when it ends.
            if not self._reachable or not calls:
                return
            answers = await self._ask([scripts.TOUCH.call(each, self._now.number) for each in calls])
            refused = [each for each, answer in zip(calls, answers, strict=False) if answer != scripts.DONE]
            if answers and not refused:
                _touches.inc(sum(len(users) for users in touches.values()))
                return
            if answers:
                calls = refused
                await self._reconcile(next(answer for answer in answers if answer != scripts.DONE))
        await self._begin_outage(RedisError("the sentinels do not settle"))

    async def read(self, user_id: str, cursor: Cursor | None) -> Reading:
        """What changed for the user since `cursor`, less the margin, and the cursor to go on from."""
        since = cursor.time_ms - MARGIN_MS if cursor else 0
        for _ in range(TRIES):
            if not self._reachable:
                break
            number = self._now.number
            answers = await self._ask([scripts.READ.call(scripts.reading(user_id, since), number)])
            if not answers:
                break
            if isinstance(answers[0], list):
                return _reading(answers[0], cursor, number)
            await self._reconcile(answers[0])
        return Reading(Resync.INDEX_UNAVAILABLE, (), None)

    async def _ask(self, calls: list[scripts.Call]) -> list[Any]:
        """The answers to calls of one script; nothing when the index cannot be reached, which begins an outage."""
        try:
            try:
                return await self._pipelined(calls)
            except NoScriptError:
                await self._redis.script_load(calls[0].script.text)
                return await self._pipelined(calls)
        except UNREACHABLE as error:
            await self._begin_outage(error)
            return []

    async def _pipelined(self, calls: list[scripts.Call]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for call in calls:
                pipeline.evalsha(call.script.sha, len(call.keys), *call.keys, *call.arguments)
            return await pipeline.execute()

    async def _reconcile(self, found: bytes | None) -> None:
        """A sentinel is not of our generation: catch up, or move the generation on."""
        async with self._lock:
            now = await stubbornly("load_generation", self._record.load)
            if now.number > self._now.number:
                self._adopt(now)
            elif asyncio.get_running_loop().time() - self._adopted_at < GRACE_S:
                await asyncio.sleep(PAUSE_S)
            else:
                log.warning("the change index has lost something", sentinel=found, generation=now.number)
                await self._move_on(await self._run_id())

    async def _move_on(self, run_id: str, *, vouch: bool = True) -> None:
        seen = self._now
        moved, ours = await stubbornly("move_generation", lambda: self._record.move_on(seen, run_id))
        self._adopt(moved)
        if ours and vouch:
            await self._vouch(moved.number)

    async def _vouch(self, generation: int) -> None:
        """Write the sentinels. If that fails an outage begins, of a generation that has just moved on."""
        try:
            await self._redis.script_load(scripts.VOUCH.text)
            await self._pipelined([scripts.VOUCH.call(scripts.sentinel(each), generation) for each in BUCKETS])
        except UNREACHABLE as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        self._reachable = False
        _up.set(0)
        _outages.inc()
        log.warning("the change index cannot be reached", error=str(error) or type(error).__name__)

    def _adopt(self, generation: Generation) -> None:
        if generation.number <= self._now.number:
            self._now = replace(self._now, run_id=generation.run_id)
            return
        first = self._now.number == 0
        self._now = generation
        self._adopted_at = asyncio.get_running_loop().time()
        _generation.set(generation.number)
        log.info("generation", number=generation.number)
        for listener in [] if first else self._listeners:
            listener()

    async def _begin_outage(self, error: Exception) -> None:
        """Move the generation on, once per outage; only then is it safe to acknowledge what is not noted."""
        async with self._lock:
            if self._reachable:
                await self._move_on("", vouch=False)
                self._lose(error)

    async def _probe_for_ever(self) -> None:
        while not asked_to_end():
            await asyncio.sleep(PROBE_S)
            await self._probe()

    async def _probe(self) -> None:
        """Notice an outage, its end, another Redis, and a flush that no touch has met."""
        run_id = await self._run_id()
        if not run_id:
            await self._begin_outage(RedisError("no answer to a probe"))
            return
        if not self._reachable or run_id != self._now.run_id:
            await self._begin_life(run_id)
        _up.set(1)
        answers = await self._ask([scripts.READ.call(scripts.reading("00" * 16, 0), self._now.number)])
        if answers and not isinstance(answers[0], list):
            await self._reconcile(answers[0])

    async def _begin_life(self, run_id: str) -> None:
        """The index is back, or is another one: what was noted meanwhile, or in the old one, may be missing."""
        async with self._lock:
            self._adopt(await stubbornly("load_generation", self._record.load))
            if self._reachable and run_id == self._now.run_id:
                return
            log.info("the change index begins anew", run_id=run_id)
            self._reachable = True
            await self._move_on(run_id)

    async def _run_id(self) -> str:
        try:
            return str((await self._redis.info("server"))["run_id"])
        except UNREACHABLE:
            return ""

    async def _follow(self) -> None:
        while not asked_to_end():
            try:
                async for generation in self._record.watch():
                    self._adopt(generation)
            except StoreUnavailable as failure:
                log.warning("cannot follow the generation", error=failure.message)
            await asyncio.sleep(PROBE_S)


def _reading(answer: list[Any], cursor: Cursor | None, generation: int) -> Reading:
    now, conversations = int(answer[0]), answer[1]
    here = Cursor(generation, now)
    if cursor is None:
        return Reading(Resync.NO_CURSOR, (), here)
    if cursor.generation != generation:
        return Reading(Resync.OTHER_GENERATION, (), here)
    if cursor.time_ms > now:
        return Reading(Resync.CURSOR_FROM_FUTURE, (), here)
    return Reading(Resync.NONE, tuple(each.hex() for each in conversations), here)
