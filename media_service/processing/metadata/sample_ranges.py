"""The bytes of a track's samples in a film that is not in fragments, from the tables of the track."""

from __future__ import annotations

import struct
from typing import Final

from media_service.processing.boxes import Box, find_box, list_children, read_path, read_uint
from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser

MAX_CHUNKS: Final = 25_000
"""The chunks of one track: 7 hours of film with a chunk each second."""

_SIZES_PER_READ: Final = 65_536
_NUMBER_FORMATS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}


def read_sample_ranges(reader: BufferedReader, track: Box) -> Parser[list[tuple[int, int]]]:
    """Return offset and length of each chunk of a track, a box `trak`; chunks that touch are joined. Raise Malformed.

    The tables are read in blocks: `reader` is not used for them, so its buffer stays where it is.
    """
    table = yield from read_path(reader, track, b"mdia", b"minf", b"stbl")
    if table is None:
        return []
    boxes = yield from list_children(reader, table)
    offsets = find_box(boxes, b"stco") or find_box(boxes, b"co64")
    if offsets is None:
        return []
    counts = yield from _read_counts(reader, find_box(boxes, b"stsc"))
    sizes = yield from _read_sizes_header(reader, boxes)
    return (yield from _join_chunks(reader, offsets, counts, sizes))


class _SampleSizes:
    """The sizes of the samples of a track in order: all the same, or a table of numbers of `width` bytes."""

    def __init__(self, file_bytes: int, *, same: int, count: int, start: int = 0, width: int = 4) -> None:
        self._reader = BufferedReader(file_bytes)
        self._same, self._left = same, count
        self._position, self._width = start, width

    def take(self, count: int) -> Parser[int]:
        """Return the total size of the next `count` samples."""
        if count > self._left:
            raise Malformed("a track has fewer samples than its chunks hold")
        self._left -= count
        if self._same:
            return self._same * count
        total = 0
        while count:
            some = min(count, _SIZES_PER_READ)
            numbers = yield from self._reader.read(self._position, some * self._width)
            total += sum(struct.unpack(f">{some}{_NUMBER_FORMATS[self._width]}", numbers))
            self._position += some * self._width
            count -= some
        return total


def _read_sizes_header(reader: BufferedReader, boxes: list[Box]) -> Parser[_SampleSizes]:
    if (box := find_box(boxes, b"stsz")) is not None:
        same, width = (yield from read_uint(reader, box, 4, 4)), 4
    elif (box := find_box(boxes, b"stz2")) is not None:
        same, width = 0, (yield from read_uint(reader, box, 7, 1)) // 8
    else:
        raise Malformed("a track does not state the sizes of its samples")
    count = yield from read_uint(reader, box, 8, 4)
    if not same and (width not in _NUMBER_FORMATS or 12 + count * width > box.length):
        raise Malformed("the sizes of the samples of a track exceed their box")
    return _SampleSizes(reader.size_bytes, same=same, count=count, start=box.payload + 12, width=width)


def _read_counts(reader: BufferedReader, box: Box | None) -> Parser[list[tuple[int, int]]]:
    """Return pairs of the number of a chunk, from 1, and the samples of it and of the chunks up to the next pair."""
    if box is None:
        raise Malformed("a track does not state the samples of its chunks")
    count = yield from read_uint(reader, box, 4, 4)
    if count > MAX_CHUNKS or 8 + 12 * count > box.length:
        raise Malformed("the chunks of a track are too many, or exceed their box")
    numbers = struct.unpack(f">{3 * count}I", (yield from reader.read(box.payload + 8, 12 * count)))
    return list(zip(numbers[::3], numbers[1::3], strict=True))


def _join_chunks(
    reader: BufferedReader, box: Box, counts: list[tuple[int, int]], sizes: _SampleSizes
) -> Parser[list[tuple[int, int]]]:
    width = 8 if box.kind == b"co64" else 4
    chunks = yield from read_uint(reader, box, 4, 4)
    if chunks > MAX_CHUNKS or 8 + width * chunks > box.length:
        raise Malformed("the chunks of a track are too many, or exceed their box")
    numbers = yield from reader.read(box.payload + 8, width * chunks)
    ranges: list[tuple[int, int]] = []
    entry, samples = 0, 0
    for index, offset in enumerate(struct.unpack(f">{chunks}{_NUMBER_FORMATS[width]}", numbers)):
        while entry < len(counts) and counts[entry][0] <= index + 1:
            samples, entry = counts[entry][1], entry + 1
        length = yield from sizes.take(samples)
        if ranges and sum(ranges[-1]) == offset:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + length)
        elif length:
            ranges.append((offset, length))
    return ranges
