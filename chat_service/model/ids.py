"""Ids that are computed rather than drawn, so that two servers arrive at the same one."""

from __future__ import annotations

from hashlib import blake2b
from uuid import UUID

from xxhash import xxh3_128_digest

from servicekit.ring import position


def user_position(user_id: str) -> int:
    """Where a user stands on the ring: there is the user's home."""
    return position(user_id.encode())


def conversation_position(conversation_id: str) -> int:
    """Where a conversation stands on the ring: the first half of its id, which is a hash already."""
    return int(conversation_id[:16], 16)


def direct_id(one: str, other: str) -> str:
    """The conversation of two users, the same from either side.

    Half of it is the position of the one with the lower id, so that their home owns the conversation and a message
    crosses between servers once at most; the other half is a hash of both.
    """
    low, high = sorted((one, other))
    return f"{user_position(low):016x}{_hash_id('direct', low, high)[:16]}"


def group_id(creator: str, request_id: str) -> str:
    """The group a request makes; the same request makes the same group."""
    return _hash_id("group", creator, UUID(request_id).hex)


def fingerprint(content: bytes) -> bytes:
    """16 bytes that tell whether a repeated id came with the same content."""
    return xxh3_128_digest(content)


def uuid7_time_ms(value: UUID) -> int | None:
    """When a UUIDv7 was made, in milliseconds since 1970; None for other UUIDs."""
    return value.int >> 80 if value.version == 7 else None


def _hash_id(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=16, person=b"conversation").hexdigest()
