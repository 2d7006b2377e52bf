"""Length-delimited protobuf fields, so that serialised values are embedded without being parsed again."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache


@lru_cache(maxsize=4096)
def encode_varint(value: int) -> bytes:
    """Return `value`, which is not negative, as a varint: base 128, lowest group first."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def encode_bytes_field(field_number: int, value: bytes) -> bytes:
    """Return a serialised field of type bytes, string or message."""
    return encode_varint(field_number << 3 | 2) + encode_varint(len(value)) + value


def encode_repeated_field(field_number: int, values: Iterable[bytes]) -> bytes:
    """Return a serialised repeated field of type bytes, string or message."""
    return b"".join([encode_bytes_field(field_number, value) for value in values])
