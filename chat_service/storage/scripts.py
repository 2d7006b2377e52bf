"""The Lua scripts of the change index. Each call works on the keys of one bucket and takes the time from Redis.

The bucket of a user is the first byte of the user id. Its keys are `parley:{bucket}:generation`, the sentinel, and
`parley:{bucket}:<user id>`, the sorted set of a user. TOUCH and READ return the sentinel if it is not the caller's
generation.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from servicekit.redis import Script, ScriptCall

DONE: Final = 1
# The set of a user that has not been touched for this long is deleted, so that Redis forgets deleted users. It is
# longer than MAX_CURSOR_AGE_MS: no cursor that is still valid lies before a touch that was deleted.
KEY_TTL_MS: Final = 90 * 24 * 3600 * 1000

_GUARD = """
local generation = redis.call('GET', KEYS[1])
if generation ~= ARGV[1] then return generation or '' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""


@dataclass(frozen=True, slots=True)
class BucketArguments:
    """The keys of one bucket, the sentinel first, and the script arguments that follow the generation."""

    keys: tuple[str, ...]
    arguments: tuple[bytes | int, ...] = ()

    def call(self, script: Script, generation: int) -> ScriptCall:
        """Return a call of `script` on the bucket."""
        return script.call(self.keys, generation, *self.arguments)


# A touch only raises scores, so any server may write it, in any order, any number of times.
TOUCH: Final = Script.from_text(
    _GUARD
    + f"""
for i = 2, #KEYS do
    redis.call('ZADD', KEYS[i], 'GT', now, ARGV[i])
    redis.call('PEXPIRE', KEYS[i], {KEY_TTL_MS})
end
return 1
"""
)
READ: Final = Script.from_text(_GUARD + "return {now, redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[2], '+inf')}")
# The pattern is that of `parse_generation`. A value that is not a generation counts as 0 and is overwritten.
WRITE_SENTINEL: Final = Script.from_text(
    """
local sentinel = redis.call('GET', KEYS[1]) or ''
local generation = #sentinel <= 15 and string.match(sentinel, '^[1-9]%d*$') or 0
if tonumber(generation) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
"""
)
# At most 15 digits: a Lua number holds every such integer exactly.
_GENERATION_PATTERN: Final = re.compile("[1-9][0-9]{0,14}")


def parse_generation(sentinel: bytes | str | None) -> int:
    """Return the generation in a sentinel; 0 if the sentinel is missing or not a generation."""
    text = sentinel.decode(errors="replace") if isinstance(sentinel, bytes) else sentinel or ""
    return int(text) if _GENERATION_PATTERN.fullmatch(text) else 0


def touch_arguments(conversations: Mapping[str, Collection[str]]) -> list[BucketArguments]:
    """Return the arguments of TOUCH for these users by conversation, one element per bucket."""
    buckets: dict[str, list[tuple[str, bytes]]] = {}
    for conversation_id, users in conversations.items():
        member = bytes.fromhex(conversation_id)
        for user in users:
            buckets.setdefault(user[:2], []).append((user_key(user), member))
    return [
        BucketArguments(
            (sentinel_key(bucket), *(key for key, _ in touched)),
            tuple(member for _, member in touched),
        )
        for bucket, touched in buckets.items()
    ]


def read_arguments(user_id: str, since_ms: int) -> BucketArguments:
    """Return the arguments of READ for the changes of a user after `since_ms`."""
    return BucketArguments((sentinel_key(user_id[:2]), user_key(user_id)), (since_ms,))


def user_key(user_id: str) -> str:
    """Return the key of the set of a user."""
    return f"parley:{{{user_id[:2]}}}:{user_id}"


def sentinel_key(bucket: str) -> str:
    """Return the key of the sentinel of a bucket."""
    return f"parley:{{{bucket}}}:generation"


def probe_key(bucket: str) -> str:
    """Return the key that is written to find out whether the primary of a bucket accepts writes."""
    return f"parley:{{{bucket}}}:probe"


def sentinel_arguments(bucket: str) -> BucketArguments:
    """Return the arguments of WRITE_SENTINEL."""
    return BucketArguments((sentinel_key(bucket),))
