"""The boxes of ISO base media files (MP4, M4A, 3GP) and QuickTime movies, as in ISO/IEC 14496-12 and Apple's format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser

MAX_BOXES: Final = 60_000
"""The boxes of a file, outermost. A film of two hours in fragments of half a second has 30,000."""

MAX_CHILDREN: Final = 2_000
"""The boxes in a box."""

_BLOCK_BYTES: Final = 16 * 1024
_MAX_READS: Final = 1_000_000

TOP_LEVEL: Final = frozenset({b"ftyp", b"styp", b"pdin", b"moov", b"moof", b"mdat", b"sidx", b"ssix", b"mfra"})
"""The boxes of a file that a player needs."""

FREE_SPACE: Final = frozenset({b"free", b"skip", b"wide"})
"""Boxes without a meaning."""

_FIRST: Final = TOP_LEVEL | FREE_SPACE | {b"pnot"}
"""The boxes with which a file may begin. Old QuickTime movies have no `ftyp`, and some begin with a preview."""

_WIDE_SIZE, _TO_THE_END = 1, 0
"""Sizes with a meaning of their own: 64 bits follow the type, and the box ends where its container ends."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box: its type of four bytes, where it starts, where its contents start, and its end."""

    kind: bytes
    start: int
    payload: int
    end: int

    @property
    def length(self) -> int:
        """The size of the contents in bytes."""
        return self.end - self.payload


def open_boxes(size_bytes: int) -> BufferedReader:
    """Return a reader of boxes, which lie scattered over the file: its block is small."""
    return BufferedReader(size_bytes, _BLOCK_BYTES, _MAX_READS)


def read_box(reader: BufferedReader, start: int, end: int) -> Parser[Box]:
    """Return the box at `start` of a container that ends at `end`. Raise Malformed if it exceeds its container."""
    header = yield from reader.read(start, 8)
    size, kind, payload = int.from_bytes(header[:4], "big"), header[4:], start + 8
    if size == _WIDE_SIZE:
        size, payload = int.from_bytes((yield from reader.read(payload, 8)), "big"), payload + 8
    elif size == _TO_THE_END:
        size = end - start
    if start + size < payload or start + size > end:
        raise Malformed(f"a box at {start} is shorter than its header, or exceeds its container")
    return Box(kind, start, payload, start + size)


def list_children(reader: BufferedReader, parent: Box, prefix_bytes: int = 0) -> Parser[list[Box]]:
    """Return the boxes in a box, after `prefix_bytes` of its contents. Raise Malformed.

    Seven bytes or fewer may follow them: QuickTime ends some lists with four zeros.
    """
    boxes: list[Box] = []
    start = parent.payload + prefix_bytes
    while parent.end - start >= 8:
        if len(boxes) >= MAX_CHILDREN:
            raise Malformed("a box has too many boxes")
        box = yield from read_box(reader, start, parent.end)
        boxes.append(box)
        start = box.end
    return boxes


def list_top_level(reader: BufferedReader) -> Parser[list[Box]]:
    """Return the boxes of a file, without bytes after them that are no box: makers of cameras append such.

    Raise Malformed if it is no such file, or is truncated.
    """
    boxes: list[Box] = []
    kinds: set[bytes] = set()
    start = 0
    while start < reader.size_bytes:
        if {b"moov", b"mdat"} <= kinds and not (yield from _has_box(reader, start)):
            break
        box = yield from read_box(reader, start, reader.size_bytes)
        if not kinds and box.kind not in _FIRST:
            raise Malformed("the file does not begin with a box of a film")
        if len(boxes) >= MAX_BOXES:
            raise Malformed("the file has too many boxes")
        boxes.append(box)
        kinds.add(box.kind)
        start = box.end
    return boxes


def _has_box(reader: BufferedReader, start: int) -> Parser[bool]:
    """Return false if the bytes at `start` are no box. A box of a film that is truncated is one."""
    if reader.size_bytes - start < 8:
        return False
    if (yield from reader.read(start, 8))[4:] in TOP_LEVEL:
        return True
    try:
        yield from read_box(reader, start, reader.size_bytes)
    except Malformed:
        return False
    return True


def find_box(boxes: Iterable[Box], kind: bytes) -> Box | None:
    """Return the first box of a type, or None."""
    return next((box for box in boxes if box.kind == kind), None)


def read_path(reader: BufferedReader, parent: Box, *kinds: bytes) -> Parser[Box | None]:
    """Return the first box at a path of types below `parent`, or None."""
    found: Box | None = parent
    for kind in kinds:
        if found is None:
            return None
        found = find_box((yield from list_children(reader, found)), kind)
    return found


def read_uint(reader: BufferedReader, box: Box, offset: int, length: int) -> Parser[int]:
    """Return the number of `length` bytes at `offset` of the contents of a box. Raise Malformed if it is shorter."""
    if offset + length > box.length:
        raise Malformed(f"a box {box.kind!r} is too short")
    return int.from_bytes((yield from reader.read(box.payload + offset, length)), "big")
