"""The orientation of a picture: reading it from EXIF, and an EXIF that holds nothing else."""

from __future__ import annotations

import struct
from typing import Final

from media_service.processing.buffered_reader import BufferedReader
from media_service.processing.byte_ranges import Parser

UPRIGHT: Final = 1
"""The orientation of a picture that is shown as it is stored. The others are 2 to 8."""

EXIF_PREFIX: Final = b"Exif\0\0"
"""The bytes before the TIFF structure in a JPEG file, and in some WebP and PNG files as well."""

_TAG: Final = 0x0112
_SHORT: Final = 3
_ENTRY_BYTES: Final = 12
_MAX_ENTRIES: Final = 1024
_BYTE_ORDERS: Final = {b"II*\0": "<", b"MM\0*": ">"}


def encode_orientation(orientation: int) -> bytes:
    """Return a TIFF structure with one tag, the orientation: 26 bytes."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, _TAG, _SHORT, 1, orientation, 0, 0)


def read_orientation(reader: BufferedReader, offset: int, length: int) -> Parser[int]:
    """Return the orientation, 1 to 8, that the EXIF of `length` bytes at `offset` states.

    Return UPRIGHT if it states none, or is damaged: viewers show such a picture as it is stored.
    """
    if (yield from reader.read(offset, min(length, len(EXIF_PREFIX)))) == EXIF_PREFIX:
        offset, length = offset + len(EXIF_PREFIX), length - len(EXIF_PREFIX)
    header = yield from reader.read(offset, min(length, 8))
    order = _BYTE_ORDERS.get(header[:4])
    if order is None or len(header) < 8:
        return UPRIGHT
    (directory,) = struct.unpack(order + "I", header[4:])
    if directory + 2 > length:
        return UPRIGHT
    (announced,) = struct.unpack(order + "H", (yield from reader.read(offset + directory, 2)))
    count = min(announced, _MAX_ENTRIES, (length - directory - 2) // _ENTRY_BYTES)
    entries = yield from reader.read(offset + directory + 2, count * _ENTRY_BYTES)
    return _find_orientation(entries, order)


def _find_orientation(entries: bytes, order: str) -> int:
    for start in range(0, len(entries), _ENTRY_BYTES):
        tag, kind, _, value, _ = struct.unpack_from(order + "HHIHH", entries, start)
        if tag == _TAG:
            return value if kind == _SHORT and 1 <= value <= 8 else UPRIGHT
    return UPRIGHT
