"""The change index in Redis: per user an ordered set of conversations, scored by Redis's own clock.

It is a hint that may be lost as a whole, and never in part unnoticed: every script compares the generation with a
sentinel beside the keys it touches. What becomes of a loss or an outage is decided by the index's life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from chat_service.errors import StoreUnavailable
from chat_service.model.cursor import Cursor, IndexReading, Resync
from chat_service.storage import scripts
from chat_service.storage.batch_loader import BatchLoader
from chat_service.storage.index_generation import RETRY_PAUSE_S, SENTINEL_GRACE_S, UNREACHABLE, IndexGeneration

MARGIN_MS: Final = 60_000
# Longer than the grace of who writes the sentinels.
PATIENCE_S: Final = 2 * SENTINEL_GRACE_S
TRIES: Final = int(PATIENCE_S / RETRY_PAUSE_S)

_touches = Counter("parley_index_touches", "Touches written to the change index")


class RedisChangeIndex:
    """Implements the owner's Index and the history's. `touch` and `read` never raise for a Redis that fails."""

    def __init__(self, redis: Redis, life: IndexGeneration) -> None:
        self._redis = redis
        self.generation = life
        self._readings = BatchLoader(self._read)

    async def touch(self, touches: Mapping[str, Collection[str]]) -> None:
        """Note for each conversation that it changed for these users."""
        parts = scripts.touch_arguments(touches)
        for _ in range(TRIES):
            # During an outage nothing is noted: that is owed, and made good when it ends.
            if not self.generation.reachable or not parts:
                return
            number = self.generation.number
            try:
                answers = await scripts.run_scripts(self._redis, [scripts.TOUCH.call(each, number) for each in parts])
            except UNREACHABLE as error:
                await self.generation.begin_outage(error)
                return
            refused = [(each, answer) for each, answer in zip(parts, answers, strict=True) if answer != scripts.DONE]
            if not refused:
                _touches.inc(sum(len(users) for users in touches.values()))
                return
            parts = [each for each, _ in refused]
            await self.generation.reconcile(refused[0][0], number, refused[0][1])
        await self.generation.begin_outage(RedisError("the sentinels do not settle"))

    async def read_changes(self, user_id: str, cursor: Cursor | None) -> IndexReading:
        """What changed for the user since `cursor`, less the margin, and the cursor to go on from."""
        what = user_id, cursor.time_ms - MARGIN_MS if cursor else 0
        now = asyncio.get_running_loop().time
        until = now() + PATIENCE_S
        while self.generation.complete and now() < until:
            try:
                number, answer = (await self._readings.get([what]))[what]
            except StoreUnavailable:
                # Nothing is left unnoted by that, so nothing is owed.
                await self.generation.probe()
                await asyncio.sleep(RETRY_PAUSE_S)
                continue
            if isinstance(answer, list):
                return _reading(answer, cursor, number)
            await self.generation.reconcile(scripts.read_arguments(*what), number, answer)
        return IndexReading(Resync.INDEX_UNAVAILABLE, (), None)

    async def _read(self, what: Collection[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, Any]]:
        """What each user has since when, or the sentinel where it is another, with the generation asked for.

        Raises StoreUnavailable.
        """
        number = self.generation.number
        calls = [scripts.READ.call(scripts.read_arguments(user, since), number) for user, since in what]
        try:
            answers = await scripts.run_scripts(self._redis, calls)
        except UNREACHABLE as error:
            raise StoreUnavailable("the change index does not answer") from error
        return {each: (number, answer) for each, answer in zip(what, answers, strict=True)}


def _reading(answer: list[Any], cursor: Cursor | None, generation: int) -> IndexReading:
    now, conversations = int(answer[0]), answer[1]
    here = Cursor(generation, now)
    if cursor is None:
        return IndexReading(Resync.NO_CURSOR, (), here)
    if cursor.generation != generation:
        return IndexReading(Resync.OTHER_GENERATION, (), here)
    if cursor.time_ms > now:
        return IndexReading(Resync.CURSOR_FROM_FUTURE, (), here)
    return IndexReading(Resync.NONE, tuple(each.hex() for each in conversations), here)
