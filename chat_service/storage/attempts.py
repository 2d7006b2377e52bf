"""How often something was tried lately: one token bucket a key, in MongoDB, so that all servers count together.

A bucket is one time: when it will be full again. `_id` is a hash of the key, for people type passwords where names
belong. What is full again is dropped by the database.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from bson import Binary
from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from chat_service.storage.mongo import Database, Document, store_errors
from servicekit.rate_limiter import RateLimit

ATTEMPTS: Final = "sign_in_tries"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Seconds a full bucket stays: clocks of servers differ.
KEPT_S: Final = 3600


class MongoAttemptCounter:
    """Implements Tries; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._tries = database[ATTEMPTS]

    async def ensure_indexes(self) -> None:
        """Make the index by which full buckets are dropped."""
        with store_errors(deadline=60.0):
            await self._tries.create_index([("full", ASCENDING)], expireAfterSeconds=KEPT_S)

    async def take(self, key: str, limit: RateLimit, now_ms: int) -> float:
        """Count a try and give 0, or count none and give the seconds until there is one to be had."""
        step = _step_ms(limit)
        latest = now_ms + round(step * (limit.burst - 1))
        begins = {"$max": ["$full", _time(now_ms)]}
        taken = {"$cond": [{"$lte": [begins, _time(latest)]}, {"$add": [begins, step]}, begins]}
        # Should a clock have been far ahead, the bucket is at worst empty now.
        before = await self._changed(key, {"$min": [taken, _time(latest + step)]}, upsert=True)
        full = now_ms if before is None else (before["full"] - EPOCH) // timedelta(milliseconds=1)
        return max(0, min(full - latest, step)) / 1000

    async def refund(self, key: str, limit: RateLimit) -> None:
        """Count one try less."""
        await self._changed(key, {"$subtract": ["$full", _step_ms(limit)]}, upsert=False)

    async def _changed(self, key: str, full: Document, *, upsert: bool) -> Document | None:
        """The bucket as it was before; None when there was none."""
        change = [{"$set": {"full": full}}]
        with store_errors():
            try:
                found: Any = await self._tries.find_one_and_update({"_id": _id(key)}, change, upsert=upsert)
            except DuplicateKeyError:
                # Of two first tries at once, the one that comes second finds the bucket there.
                found = await self._tries.find_one_and_update({"_id": _id(key)}, change)
        return found  # type: ignore[no-any-return]


def _id(key: str) -> Binary:
    return Binary(blake2b(key.encode(errors="surrogatepass"), digest_size=16, person=b"sign-in tries").digest())


def _time(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def _step_ms(allowance: RateLimit) -> int:
    """How long it takes until there is one try more."""
    return round(1000 / allowance.rate)
