"""The change index in Redis: per user a sorted set of changed conversations, scored by the clock of Redis.

The index may lose data, but no loss goes unnoticed: every script compares the caller's generation with the sentinel of
the bucket whose keys it uses. IndexGeneration handles losses and outages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from chat_service.model.cursor import Cursor, IndexReading, Resync
from chat_service.storage import scripts
from chat_service.storage.index_generation import RETRY_PAUSE_S, SENTINEL_GRACE_S, IndexGeneration
from servicekit.batch_loader import BatchLoader
from servicekit.errors import StoreUnavailable
from servicekit.redis import UNREACHABLE, redis_errors, run_scripts

# Reads start this long before the cursor: owners touch a conversation at most once in 30 s, so a change may be that
# much younger than its touch, and be missed by a device whose cursor lies between.
MARGIN_MS: Final = 60_000
# A device with an older cursor resyncs, because older touches may be deleted.
MAX_CURSOR_AGE_MS: Final = 60 * 24 * 3600 * 1000
# Longer than the time that the server that advanced the generation may take to write the sentinels.
SETTLE_TIMEOUT_S: Final = 2 * SENTINEL_GRACE_S
MAX_TOUCH_ATTEMPTS: Final = int(SETTLE_TIMEOUT_S / RETRY_PAUSE_S)

_touches = Counter("parley_index_touches", "Touches written to the change index")


class RedisChangeIndex:
    """Implements ChangeIndex; `touch` and `read_changes` do not raise if Redis fails."""

    def __init__(self, redis: Redis, generation: IndexGeneration) -> None:
        self._redis = redis
        self.generation = generation
        self._reads = BatchLoader(self._read)

    async def touch(self, touches: Mapping[str, Collection[str]]) -> None:
        """Write one script call per bucket, and repeat those whose sentinel has another generation."""
        buckets = scripts.touch_arguments(touches)
        for _ in range(MAX_TOUCH_ATTEMPTS):
            # During an outage nothing is written: this server is marked dirty, so the generation advances at its end.
            if not self.generation.reachable or not buckets:
                return
            number = self.generation.number
            try:
                replies = await run_scripts(self._redis, [each.call(scripts.TOUCH, number) for each in buckets])
            except UNREACHABLE as error:
                await self.generation.begin_outage(error)
                return
            refused = [(each, reply) for each, reply in zip(buckets, replies, strict=True) if reply != scripts.DONE]
            if not refused:
                _touches.inc(sum(len(users) for users in touches.values()))
                return
            buckets = [each for each, _ in refused]
            await self.generation.reconcile(refused[0][0], number, refused[0][1])
        await self.generation.begin_outage(RedisError("sentinels of another generation persist"))

    async def read_changes(self, user_id: str, cursor: Cursor | None) -> IndexReading:
        """Read from MARGIN_MS before the cursor on. Return INDEX_UNAVAILABLE if the index is not complete."""
        key = user_id, cursor.time_ms - MARGIN_MS if cursor else 0
        now = asyncio.get_running_loop().time
        deadline = now() + SETTLE_TIMEOUT_S
        while self.generation.complete and now() < deadline:
            try:
                number, reply = (await self._reads.get([key]))[key]
            except StoreUnavailable:
                # A failed read loses no change, so it begins an outage only if a probe fails too.
                await self.generation.probe()
                await asyncio.sleep(RETRY_PAUSE_S)
                continue
            if isinstance(reply, list):
                return _decode_reading(reply, cursor, number)
            await self.generation.reconcile(scripts.read_arguments(*key), number, reply)
        return IndexReading(Resync.INDEX_UNAVAILABLE, (), None)

    async def delete_user(self, user_id: str) -> None:
        """Delete the set of a user whose account is deleted. Raise StoreUnavailable.

        A message to a 1-1 conversation of the user adds to it again; that expires.
        """
        with redis_errors():
            await self._redis.unlink(scripts.user_key(user_id))

    async def _read(self, keys: Collection[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, Any]]:
        """Return the generation that the call expected, and the reply of READ, by user and time.

        Raises StoreUnavailable.
        """
        number = self.generation.number
        calls = [scripts.read_arguments(user, since_ms).call(scripts.READ, number) for user, since_ms in keys]
        with redis_errors():
            replies = await run_scripts(self._redis, calls)
        return {key: (number, reply) for key, reply in zip(keys, replies, strict=True)}


def _decode_reading(reply: list[Any], cursor: Cursor | None, generation: int) -> IndexReading:
    now_ms, conversations = int(reply[0]), reply[1]
    next_cursor = Cursor(generation, now_ms)
    if cursor is None:
        return IndexReading(Resync.NO_CURSOR, (), next_cursor)
    if cursor.generation != generation or cursor.time_ms < now_ms - MAX_CURSOR_AGE_MS:
        return IndexReading(Resync.OTHER_GENERATION, (), next_cursor)
    if cursor.time_ms > now_ms:
        return IndexReading(Resync.CURSOR_FROM_FUTURE, (), next_cursor)
    return IndexReading(Resync.NONE, tuple(each.hex() for each in conversations), next_cursor)
