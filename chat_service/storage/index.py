"""The change index in Redis: per user an ordered set of conversations, scored by Redis's own clock.

It is a hint that may be lost as a whole, and never in part unnoticed: every script compares the generation with a
sentinel beside the keys it touches. What becomes of a loss or an outage is decided by the index's life.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from chat_service.model.cursor import Cursor, Reading, Resync
from chat_service.storage import scripts
from chat_service.storage.index_life import UNREACHABLE, IndexLife

MARGIN_MS: Final = 60_000
TRIES: Final = 40

_touches = Counter("parley_index_touches", "Touches written to the change index")


class RedisIndex:
    """Implements the owner's Index and the history's. `touch` and `read` never raise for a Redis that fails."""

    def __init__(self, redis: Redis, life: IndexLife) -> None:
        self._redis = redis
        self.life = life

    async def touch(self, touches: Mapping[str, Collection[str]]) -> None:
        """Note for each conversation that it changed for these users."""
        calls = scripts.touches(touches)
        for _ in range(TRIES):
            # During an outage nothing is noted: that is owed, and made good when it ends.
            if not self.life.reachable or not calls:
                return
            answers = await self._ask([scripts.TOUCH.call(each, self.life.generation) for each in calls])
            refused = [each for each, answer in zip(calls, answers, strict=False) if answer != scripts.DONE]
            if answers and not refused:
                _touches.inc(sum(len(users) for users in touches.values()))
                return
            if answers:
                calls = refused
                await self.life.reconcile(next(answer for answer in answers if answer != scripts.DONE))
        await self.life.begin_outage(RedisError("the sentinels do not settle"))

    async def read(self, user_id: str, cursor: Cursor | None) -> Reading:
        """What changed for the user since `cursor`, less the margin, and the cursor to go on from."""
        since = cursor.time_ms - MARGIN_MS if cursor else 0
        for _ in range(TRIES):
            if not self.life.complete:
                break
            number = self.life.generation
            answers = await self._ask([scripts.READ.call(scripts.reading(user_id, since), number)])
            if not answers:
                break
            if isinstance(answers[0], list):
                return _reading(answers[0], cursor, number)
            await self.life.reconcile(answers[0])
        return Reading(Resync.INDEX_UNAVAILABLE, (), None)

    async def _ask(self, calls: list[scripts.Call]) -> list[Any]:
        """The answers to calls of one script; nothing when the index cannot be reached, which begins an outage."""
        try:
            return await scripts.answers(self._redis, calls)
        except UNREACHABLE as error:
            await self.life.begin_outage(error)
            return []


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
