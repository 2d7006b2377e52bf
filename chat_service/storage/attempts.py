"""Token buckets in MongoDB, one per key, shared by all servers.

A bucket is stored as one time, `full`, at which it will be full again. `_id` is a hash of the key, because people type
passwords into name fields. A TTL index deletes full buckets.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from bson import Binary
from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from servicekit.mongo import Database, Document, index_builds, store_errors
from servicekit.rate_limiter import RateLimit

ATTEMPTS: Final = "sign_in_tries"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Full buckets are kept this long, because the clocks of servers differ.
FULL_BUCKET_TTL_S: Final = 3600


class MongoAttemptCounter:
    """Implements AttemptCounter; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._buckets = database[ATTEMPTS]

    async def ensure_indexes(self) -> None:
        """Create the TTL index that deletes full buckets."""
        with index_builds():
            await self._buckets.create_index([("full", ASCENDING)], expireAfterSeconds=FULL_BUCKET_TTL_S)

    async def take(self, key: str, limit: RateLimit, now_ms: int, n: int = 1) -> float:
        """Take `n` tokens in one pipeline update that moves `full` forward. See AttemptCounter."""
        taken_ms = n * _token_ms(limit)
        latest_ms = now_ms + round(_token_ms(limit) * limit.burst) - taken_ms
        current = {"$max": ["$full", _time(now_ms)]}
        after = {"$cond": [{"$lte": [current, _time(latest_ms)]}, {"$add": [current, taken_ms]}, current]}
        # A server whose clock was far ahead may have written `full`: treat such a bucket as empty, not as below empty.
        before = await self._set_full(key, {"$min": [after, _time(latest_ms + taken_ms)]}, upsert=True)
        full_ms = now_ms if before is None else (before["full"] - EPOCH) // timedelta(milliseconds=1)
        return max(0, min(full_ms - latest_ms, taken_ms)) / 1000

    async def refund(self, key: str, limit: RateLimit, n: int = 1) -> None:
        """Put `n` tokens back."""
        await self._set_full(key, {"$subtract": ["$full", n * _token_ms(limit)]}, upsert=False)

    async def _set_full(self, key: str, full: Document, *, upsert: bool) -> Document | None:
        """Set `full` to an expression, and return the bucket as it was before; None if there was none."""
        change = [{"$set": {"full": full}}]
        with store_errors():
            try:
                before: Any = await self._buckets.find_one_and_update({"_id": _id(key)}, change, upsert=upsert)
            except DuplicateKeyError:
                # A concurrent call has inserted the bucket.
                before = await self._buckets.find_one_and_update({"_id": _id(key)}, change)
        return before  # type: ignore[no-any-return]


def _id(key: str) -> Binary:
    return Binary(blake2b(key.encode(errors="surrogatepass"), digest_size=16, person=b"sign-in tries").digest())


def _time(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def _token_ms(limit: RateLimit) -> int:
    """Return the milliseconds in which a bucket gains one token."""
    return round(1000 / limit.rate)
