"""Ids that are computed rather than drawn, so that two servers arrive at the same one."""

from __future__ import annotations

from hashlib import blake2b
from uuid import UUID

from xxhash import xxh3_128_digest


def direct_id(one: str, other: str) -> str:
    """The conversation of two users: a 128-bit hash of both ids, the same from either side."""
    return _hashed("direct", *sorted((one, other)))


def group_id(creator: str, request_id: str) -> str:
    """The group a request makes; the same request makes the same group."""
    return _hashed("group", creator, UUID(request_id).hex)


def fingerprint(content: bytes) -> bytes:
    """16 bytes that tell whether a repeated id came with the same content."""
    return xxh3_128_digest(content)


def uuid7_time_ms(value: UUID) -> int | None:
    """When a UUIDv7 was made, in milliseconds since 1970; None for other UUIDs."""
    return value.int >> 80 if value.version == 7 else None


def _hashed(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=16, person=b"conversation").hexdigest()
