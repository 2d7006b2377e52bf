"""The last decisions about pushes to users, in Redis: a list for each user."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from notify_service.model.decision import MAX_DECISIONS, PushDecision, PushOutcome
from notify_service.model.registration import ProviderKind
from servicekit.redis import redis_errors

TTL_S: Final = 7 * 86_400


class RedisTraceStore:
    """Implements TraceStore."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def add(self, decisions: Sequence[tuple[str, PushDecision]]) -> None:
        """See TraceStore."""
        if not decisions:
            return
        by_user = dict[str, list[bytes]]()
        for user_id, decision in decisions:
            by_user.setdefault(user_id, []).append(_encode(decision))
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for user_id, encoded in by_user.items():
                    pipeline.lpush(_key(user_id), *encoded)
                    pipeline.ltrim(_key(user_id), 0, MAX_DECISIONS - 1)
                    pipeline.expire(_key(user_id), TTL_S)
                await pipeline.execute()

    async def find(self, user_id: str) -> list[PushDecision]:
        """See TraceStore."""
        with redis_errors():
            found: Any = await self._redis.lrange(_key(user_id), 0, MAX_DECISIONS - 1)
        return [_decode(json.loads(each)) for each in found]

    async def delete(self, user_id: str) -> None:
        """See TraceStore."""
        with redis_errors():
            await self._redis.delete(_key(user_id))


def _key(user_id: str) -> str:
    return f"notify:trace:{user_id}"


def _encode(decision: PushDecision) -> bytes:
    fields = {
        "ms": decision.time_ms,
        "c": decision.conversation_id,
        "seq": decision.seq,
        "outcome": int(decision.outcome),
        "d": decision.device_id,
        "p": int(decision.provider or 0),
        "reason": decision.provider_reason,
    }
    return json.dumps({name: value for name, value in fields.items() if value}, separators=(",", ":")).encode()


def _decode(fields: Mapping[str, Any]) -> PushDecision:
    return PushDecision(
        fields["ms"],
        fields["c"],
        fields.get("seq", 0),
        PushOutcome(fields["outcome"]),
        fields.get("d", ""),
        ProviderKind(fields["p"]) if "p" in fields else None,
        fields.get("reason", ""),
    )
