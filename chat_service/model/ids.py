"""Ids and ring positions that are computed, so that every server computes the same ones."""

from __future__ import annotations

from hashlib import blake2b
from uuid import UUID

from xxhash import xxh3_128_digest

from servicekit.ring import position


def user_position(user_id: str) -> int:
    """Return the ring position of a user; the server that owns it is the user's home."""
    return position(user_id.encode())


def conversation_position(conversation_id: str) -> int:
    """Return the ring position of a conversation: the first half of its id, which is a hash already."""
    return int(conversation_id[:16], 16)


def direct_id(one: str, other: str) -> str:
    """Return the id of the 1-1 conversation of two users, in either order.

    The first half is the ring position of the user with the lower id, so that this user's home owns the conversation
    and a message crosses between servers at most once. The second half is a hash of both ids.
    """
    low, high = sorted((one, other))
    return f"{user_position(low):016x}{_hash_id('direct', low, high)[:16]}"


def group_id(creator: str, request_id: str) -> str:
    """Return the id of the group that a request creates; a retry of the request creates the same group."""
    return _hash_id("group", creator, UUID(request_id).hex)


def fingerprint(content: bytes) -> bytes:
    """Return a 16-byte hash, by which a reused id with other content is detected."""
    return xxh3_128_digest(content)


def uuid7_time_ms(value: UUID) -> int | None:
    """Return the time of a UUIDv7 in milliseconds since 1970, or None for other UUIDs."""
    return value.int >> 80 if value.version == 7 else None


def _hash_id(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=16, person=b"conversation").hexdigest()
