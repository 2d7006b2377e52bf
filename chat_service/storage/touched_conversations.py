"""The conversations that each chat server touched last, in Redis, so that others find its last entries if it dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import structlog
from redis.asyncio import Redis

from chat_service.model.cursor import Cursor, IndexReading
from chat_service.model.stores import ChangeIndex
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable
from servicekit.redis import redis_errors

# The processes that touched conversations, by the time of their last touch (Unix ms).
PROCESSES: Final = "push:processes"
# An owner touches a conversation at most once in 30 s, so its last entries may be that much younger than the touch.
KEPT_MS: Final = 35_000
# A server that starts later than this after the death of another one does not look for its entries any more.
PROCESS_KEPT_MS: Final = 3_600_000

log = structlog.get_logger("push")


class RedisTouchedConversations:
    """The touched conversations of `process`, which this server notes, and those of others, which it reads.

    `running_processes` returns the names of the registered processes.
    """

    def __init__(
        self, redis: Redis, process: str, running_processes: Callable[[], Collection[str]], clock: Clock
    ) -> None:
        self._redis: Any = redis
        self._process = process
        self._running_processes = running_processes
        self._clock = clock

    async def note(self, conversation_ids: Collection[str]) -> None:
        """Note conversations before entries are appended to them. If Redis does not answer, they are not noted."""
        now_ms, key = self._clock.now_ms(), _key(self._process)
        try:
            with redis_errors():
                async with self._redis.pipeline(transaction=False) as pipeline:
                    pipeline.zadd(key, dict.fromkeys(map(bytes.fromhex, conversation_ids), now_ms))
                    pipeline.zremrangebyscore(key, "-inf", now_ms - KEPT_MS)
                    pipeline.pexpire(key, PROCESS_KEPT_MS)
                    pipeline.zadd(PROCESSES, {self._process: now_ms})
                    await pipeline.execute()
        except StoreUnavailable as error:
            log.warning("touched conversations not noted", conversations=len(conversation_ids), error=error.message)

    async def list_dead_processes(self) -> Sequence[str]:
        """Return the processes that do not run and touched conversations in the last PROCESS_KEPT_MS.

        Raises StoreUnavailable.
        """
        with redis_errors():
            await self._redis.zremrangebyscore(PROCESSES, "-inf", self._clock.now_ms() - PROCESS_KEPT_MS)
            processes = [name.decode() for name in await self._redis.zrange(PROCESSES, 0, -1)]
        running = set(self._running_processes())
        return [process for process in processes if process not in running]

    async def read(self, process: str) -> Mapping[str, int]:
        """Return the last conversations of a process, and the time of the touch of each (Unix ms).

        Raises StoreUnavailable.
        """
        with redis_errors():
            touched = await self._redis.zrange(_key(process), 0, -1, withscores=True)
        return {conversation_id.hex(): int(time_ms) for conversation_id, time_ms in touched}

    async def forget(self) -> None:
        """Forget the conversations of this process, because all its entries are published. Raise StoreUnavailable."""
        with redis_errors():
            await self._redis.unlink(_key(self._process))
            await self._redis.zrem(PROCESSES, self._process)


class NotingIndex:
    """A ChangeIndex that notes each conversation it touches."""

    def __init__(self, index: ChangeIndex, touched: RedisTouchedConversations) -> None:
        self._index = index
        self._touched = touched

    async def touch(self, touches: Mapping[str, Collection[str]]) -> None:
        """See ChangeIndex."""
        await asyncio.gather(self._index.touch(touches), self._touched.note(touches.keys()))

    async def read_changes(self, user_id: str, cursor: Cursor | None) -> IndexReading:
        """See ChangeIndex."""
        return await self._index.read_changes(user_id, cursor)


def _key(process: str) -> str:
    return f"push:touched:{process}"
