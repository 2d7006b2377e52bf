"""The fragments of films (`moof`): which bytes hold the samples of which track, and how long they play."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Final

from media_service.processing.boxes import Box, find_box, list_children, read_uint
from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser

_HAS_BASE, _HAS_DESCRIPTION, _HAS_DURATION, _HAS_SIZE, _BASE_IS_FRAGMENT = 0x1, 0x2, 0x8, 0x10, 0x20000
_RUN_HAS_OFFSET, _RUN_HAS_FIRST_FLAGS, _SAMPLE_DURATION, _SAMPLE_SIZE = 0x1, 0x4, 0x100, 0x200
_SAMPLE_FIELDS: Final = (_SAMPLE_DURATION, _SAMPLE_SIZE, 0x400, 0x800)
_SAMPLES_PER_READ: Final = 16_384


@dataclass(frozen=True, slots=True)
class SampleDefaults:
    """The duration, in units of the track, and the size in bytes of samples that do not state their own."""

    duration: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class TrackFragment:
    """The part of a track in a fragment.

    `ranges` are the offsets and lengths of its samples. `start_time`, None if it is not stated, and `duration` are in
    units of the track's timescale. `is_relocatable` is false if the ranges of the next part are
    counted from the end of this one.
    """

    box: Box
    track_id: int
    ranges: tuple[tuple[int, int], ...]
    start_time: int | None
    duration: int
    is_relocatable: bool


@dataclass(frozen=True, slots=True)
class _Header:
    track_id: int
    base: int
    defaults: SampleDefaults
    is_relocatable: bool


def read_sample_defaults(reader: BufferedReader, movie: Box) -> Parser[dict[int, SampleDefaults]]:
    """Return the defaults that the movie header states for fragments, by track."""
    defaults: dict[int, SampleDefaults] = {}
    extends = find_box((yield from list_children(reader, movie)), b"mvex")
    for box in (yield from list_children(reader, extends)) if extends else []:
        if box.kind == b"trex" and box.length >= 24:
            track_id, _, duration, size = struct.unpack(">4I", (yield from reader.read(box.payload + 4, 16)))
            defaults[track_id] = SampleDefaults(duration, size)
    return defaults


def read_fragment(
    reader: BufferedReader, fragment: Box, defaults: dict[int, SampleDefaults]
) -> Parser[list[TrackFragment]]:
    """Return the parts of tracks in a fragment, a box `moof`. Raise Malformed."""
    parts: list[TrackFragment] = []
    next_base = fragment.start
    for box in (yield from list_children(reader, fragment)):
        if box.kind == b"traf":
            part = yield from _read_part(reader, box, fragment.start, next_base, defaults)
            parts.append(part)
            next_base = max((start + length for start, length in part.ranges), default=next_base)
    return parts


def _read_part(
    reader: BufferedReader, box: Box, fragment_start: int, next_base: int, defaults: dict[int, SampleDefaults]
) -> Parser[TrackFragment]:
    children = yield from list_children(reader, box)
    if (header_box := find_box(children, b"tfhd")) is None:
        raise Malformed("a part of a track has no header")
    header = yield from _read_header(reader, header_box, fragment_start, next_base, defaults)
    ranges: list[tuple[int, int]] = []
    position, duration = header.base, 0
    for child in children:
        if child.kind == b"trun":
            start, size, run_duration = yield from _read_run(reader, child, header, position)
            ranges.append((start, size))
            position, duration = start + size, duration + run_duration
    start_time = yield from _read_start_time(reader, find_box(children, b"tfdt"))
    return TrackFragment(box, header.track_id, tuple(ranges), start_time, duration, header.is_relocatable)


def _read_header(
    reader: BufferedReader, box: Box, fragment_start: int, next_base: int, defaults: dict[int, SampleDefaults]
) -> Parser[_Header]:
    flags = yield from read_uint(reader, box, 1, 3)
    track_id = yield from read_uint(reader, box, 4, 4)
    base = fragment_start if flags & _BASE_IS_FRAGMENT else next_base
    own, position = defaults.get(track_id, SampleDefaults()), 8
    if flags & _HAS_BASE:
        base, position = (yield from read_uint(reader, box, position, 8)), position + 8
    if flags & _HAS_DESCRIPTION:
        position += 4
    if flags & _HAS_DURATION:
        own, position = replace(own, duration=(yield from read_uint(reader, box, position, 4))), position + 4
    if flags & _HAS_SIZE:
        own = replace(own, size_bytes=(yield from read_uint(reader, box, position, 4)))
    return _Header(track_id, base, own, bool(flags & (_HAS_BASE | _BASE_IS_FRAGMENT)))


def _read_run(reader: BufferedReader, box: Box, header: _Header, position: int) -> Parser[tuple[int, int, int]]:
    """Return the offset of the samples of a run, their size in bytes, and their duration."""
    flags = yield from read_uint(reader, box, 1, 3)
    count = yield from read_uint(reader, box, 4, 4)
    fields_start = 8
    if flags & _RUN_HAS_OFFSET:
        offset = yield from read_uint(reader, box, fields_start, 4)
        position = header.base + (offset - 2**32 if offset >= 2**31 else offset)
        fields_start += 4
    if flags & _RUN_HAS_FIRST_FLAGS:
        fields_start += 4
    columns = [field for field in _SAMPLE_FIELDS if flags & field]
    if fields_start + 4 * len(columns) * count > box.length:
        raise Malformed("a run of samples exceeds its box")
    sums = yield from _sum_columns(reader, box.payload + fields_start, len(columns), count)
    totals = dict(zip(columns, sums, strict=True))
    size = totals.get(_SAMPLE_SIZE, header.defaults.size_bytes * count)
    return position, size, totals.get(_SAMPLE_DURATION, header.defaults.duration * count)


def _sum_columns(reader: BufferedReader, start: int, width: int, count: int) -> Parser[list[int]]:
    """Return the sums of the columns of a table of `count` rows of `width` numbers of four bytes."""
    sums = [0] * width
    while width and count:
        rows = min(count, _SAMPLES_PER_READ)
        numbers = struct.unpack(f">{rows * width}I", (yield from reader.read(start, 4 * rows * width)))
        sums = [total + sum(numbers[column::width]) for column, total in enumerate(sums)]
        start, count = start + 4 * rows * width, count - rows
    return sums


def _read_start_time(reader: BufferedReader, box: Box | None) -> Parser[int | None]:
    if box is None:
        return None
    version = yield from read_uint(reader, box, 0, 1)
    return (yield from read_uint(reader, box, 4, 8 if version == 1 else 4))
