"""Fields of length-delimited bytes, so that what is serialised already passes through untouched."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache


@lru_cache(maxsize=4096)
def encode_varint(value: int) -> bytes:
    """`value` in base 128, lowest group first; `value` >= 0."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def encode_bytes_field(field_number: int, value: bytes) -> bytes:
    """A field of type bytes, string or message."""
    return encode_varint(field_number << 3 | 2) + encode_varint(len(value)) + value


def encode_repeated_field(field_number: int, values: Iterable[bytes]) -> bytes:
    """A repeated field of type bytes, string or message."""
    return b"".join([encode_bytes_field(field_number, value) for value in values])
