"""The entries that were pushed to users, in Redis."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from redis.asyncio import Redis

from notify_service.storage.scripts import BEGIN_WITHDRAWAL, END_WITHDRAWAL, RECORD_PUSHED, WITHDRAW_DELETED
from servicekit.redis import ScriptCall, redis_errors, run_scripts

# Providers keep nothing for longer, and hardly anybody has an older notification on the screen.
TTL_MS: Final = 30 * 86_400_000
# A push is decided within this time.
READ_TTL_MS: Final = 300_000
# Replies of RECORD_PUSHED.
RECORDED: Final = 1
REPEATED: Final = 2


class RedisPushedEntryStore:
    """Implements PushedEntryStore: a hash for each user."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def record(
        self, conversation_id: str, seqs: Mapping[str, int], read_seqs: Mapping[str, int], event_id: str = ""
    ) -> tuple[set[str], set[str]]:
        """See PushedEntryStore."""
        if not seqs:
            return set(), set()
        calls = [_record_call(conversation_id, user, seq, read_seqs[user], event_id) for user, seq in seqs.items()]
        with redis_errors():
            found = await run_scripts(self._redis, calls)
        replies = dict(zip(seqs, found, strict=True))
        return {user for user in seqs if replies[user] == RECORDED}, {
            user for user in seqs if replies[user] == REPEATED
        }

    async def find(self, conversation_id: str, user_ids: Collection[str]) -> dict[str, int]:
        """See PushedEntryStore."""
        if not user_ids:
            return {}
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for user_id in user_ids:
                    pipeline.hget(_key(user_id), conversation_id)
                found: Any = await pipeline.execute()
        return {user_id: max(int(seq or 0), 0) for user_id, seq in zip(user_ids, found, strict=True)}

    async def begin_withdrawal(self, user_id: str, conversation_id: str, read_seq: int) -> int:
        """See PushedEntryStore."""
        return int(
            await self._run(
                BEGIN_WITHDRAWAL.call(_keys(user_id, conversation_id), conversation_id, read_seq, READ_TTL_MS)
            )
        )

    async def withdraw_deleted(self, conversation_id: str, user_ids: Collection[str], seq: int) -> list[str]:
        """See PushedEntryStore."""
        calls = [WITHDRAW_DELETED.call([_key(user_id)], conversation_id, seq) for user_id in user_ids]
        with redis_errors():
            replies = await run_scripts(self._redis, calls) if calls else []
        return [user_id for user_id, reply in zip(user_ids, replies, strict=True) if reply]

    async def end_withdrawal(self, user_id: str, conversation_id: str, seq: int) -> None:
        """See PushedEntryStore."""
        await self._run(END_WITHDRAWAL.call([_key(user_id)], conversation_id, seq))

    async def delete(self, user_id: str) -> None:
        """See PushedEntryStore."""
        with redis_errors():
            await self._redis.delete(_key(user_id))

    async def _run(self, call: ScriptCall) -> Any:
        with redis_errors():
            [reply] = await run_scripts(self._redis, [call])
        return reply


def _record_call(conversation_id: str, user_id: str, seq: int, read_seq: int, event_id: str) -> ScriptCall:
    return RECORD_PUSHED.call(_keys(user_id, conversation_id), conversation_id, seq, TTL_MS, event_id, read_seq)


def _keys(user_id: str, conversation_id: str) -> list[str]:
    return [_key(user_id), f"notify:read:{{{user_id}}}:{conversation_id}"]


def _key(user_id: str) -> str:
    """Return the key of a user's hash; the other keys of the user are in its slot."""
    return f"notify:shown:{{{user_id}}}"
