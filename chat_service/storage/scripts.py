"""The scripts of the change index: small, one bucket each, and timed by Redis's own clock.

A bucket is the first byte of the user id. Its keys are `parley:{bucket}:generation`, the sentinel, and
`parley:{bucket}:<user id>`, the ordered sets. A script answers the sentinel when it is not the caller's generation.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

DONE: Final = 1

_GUARD = """
local generation = redis.call('GET', KEYS[1])
if generation ~= ARGV[1] then return generation or '' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""


@dataclass(frozen=True, slots=True)
class BucketArguments:
    """Keys and arguments of one bucket; the generation comes before the arguments."""

    keys: tuple[str, ...]
    arguments: tuple[bytes | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """A script, by text and by hash."""

    text: str
    sha: str

    @classmethod
    def from_text(cls, text: str) -> Script:
        """The script with its hash."""
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())

    def call(self, part: BucketArguments, generation: int) -> ScriptCall:
        """A call of this script on a bucket."""
        return ScriptCall(self, part.keys, (generation, *part.arguments))


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """A script with its keys and arguments."""

    script: Script
    keys: tuple[str, ...]
    arguments: tuple[bytes | int, ...]


# A touch only moves the score forward, so any server may write it, in any order, any number of times.
TOUCH: Final = Script.from_text(
    _GUARD + "for i = 2, #KEYS do redis.call('ZADD', KEYS[i], 'GT', now, ARGV[i]) end return 1"
)
READ: Final = Script.from_text(_GUARD + "return {now, redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[2], '+inf')}")
# What a generation is here is so for `generation_of` too; what is none never keeps one from being written.
WRITE_SENTINEL: Final = Script.from_text(
    """
local found = redis.call('GET', KEYS[1]) or ''
local generation = #found <= 15 and string.match(found, '^[1-9]%d*$') or 0
if tonumber(generation) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
"""
)
# Fewer digits than a number of Lua can tell apart.
_A_GENERATION: Final = re.compile("[1-9][0-9]{0,14}")


def parse_generation(sentinel: bytes | str | None) -> int:
    """The generation a sentinel tells; 0 if there is none, or what it says is none."""
    said = sentinel.decode(errors="replace") if isinstance(sentinel, bytes) else sentinel or ""
    return int(said) if _A_GENERATION.fullmatch(said) else 0


async def run_scripts(redis: Redis, calls: Sequence[ScriptCall]) -> list[Any]:
    """The answers to calls of one script, in one round trip. Raises what the client raises when Redis fails."""
    try:
        return await _pipelined(redis, calls)
    except NoScriptError:
        await redis.script_load(calls[0].script.text)
        return await _pipelined(redis, calls)


async def _pipelined(redis: Redis, calls: Sequence[ScriptCall]) -> list[Any]:
    async with redis.pipeline(transaction=False) as pipeline:
        for call in calls:
            pipeline.evalsha(call.script.sha, len(call.keys), *call.keys, *call.arguments)
        return await pipeline.execute()


def touch_arguments(conversations: Mapping[str, Collection[str]]) -> list[BucketArguments]:
    """Users by conversation, as one part a bucket."""
    buckets: dict[str, list[tuple[str, bytes]]] = {}
    for conversation_id, users in conversations.items():
        member = bytes.fromhex(conversation_id)
        for user in users:
            buckets.setdefault(user[:2], []).append((_user_key(user), member))
    return [
        BucketArguments(
            (_sentinel_key(bucket), *(key for key, _ in touched)),
            tuple(member for _, member in touched),
        )
        for bucket, touched in buckets.items()
    ]


def read_arguments(user_id: str, since_ms: int) -> BucketArguments:
    """What changed for a user after `since_ms`."""
    return BucketArguments((_sentinel_key(user_id[:2]), _user_key(user_id)), (since_ms,))


def sentinel_arguments(bucket: str) -> BucketArguments:
    """The sentinel of a bucket."""
    return BucketArguments((_sentinel_key(bucket),))


def _sentinel_key(bucket: str) -> str:
    return f"parley:{{{bucket}}}:generation"


def _user_key(user_id: str) -> str:
    return f"parley:{{{user_id[:2]}}}:{user_id}"
