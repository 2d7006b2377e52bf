"""Dimensions and playing time of MP4, M4A, 3GP and QuickTime files, from their headers."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from media_service.processing.boxes import (
    Box,
    find_box,
    list_children,
    list_top_level,
    open_boxes,
    read_path,
    read_uint,
)
from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser
from media_service.processing.container_facts import ContainerFacts, Dimensions, to_milliseconds
from media_service.processing.fragments import read_fragment, read_sample_defaults

_ENABLED: Final = 1
_VIDEO: Final = b"vide"
_MATRIX_BYTES: Final = 36


@dataclass(frozen=True, slots=True)
class _Track:
    track_id: int
    is_enabled: bool
    handler: bytes
    dimensions: Dimensions
    timescale: int
    duration: int


def read_movie_facts(size_bytes: int) -> Parser[ContainerFacts]:
    """Return the dimensions of the first film track that is enabled, after its rotation, and the playing time.

    Raise Malformed if the file has no header, or its boxes exceed one another.
    """
    reader = open_boxes(size_bytes)
    boxes = yield from list_top_level(reader)
    if (movie := find_box(boxes, b"moov")) is None:
        raise Malformed("the film has no header")
    children = yield from list_children(reader, movie)
    tracks: list[_Track] = []
    for box in children:
        if box.kind == b"trak":
            track = yield from _read_track(reader, box)
            tracks.append(track)
    shown = [track for track in tracks if track.is_enabled] or tracks
    videos = [track for track in shown if track.handler == _VIDEO]
    dimensions = next((track.dimensions for track in videos if track.dimensions.width), Dimensions())
    duration_ms = yield from _read_duration(reader, movie, children, tracks)
    if not duration_ms:
        fragments = [box for box in boxes if box.kind == b"moof"]
        duration_ms = yield from _read_fragmented_duration(reader, movie, tracks, fragments)
    return ContainerFacts(dimensions.width, dimensions.height, duration_ms, has_video=bool(videos))


def _read_track(reader: BufferedReader, box: Box) -> Parser[_Track]:
    header = yield from read_path(reader, box, b"tkhd")
    media = yield from read_path(reader, box, b"mdia")
    if header is None or media is None:
        raise Malformed("a track has no header")
    boxes = yield from list_children(reader, media)
    media_header, handler_box = find_box(boxes, b"mdhd"), find_box(boxes, b"hdlr")
    if media_header is None or handler_box is None:
        raise Malformed("a track has no header")
    handler = (yield from read_uint(reader, handler_box, 8, 4)).to_bytes(4, "big")
    is_long = (yield from read_uint(reader, header, 0, 1)) == 1
    flags = yield from read_uint(reader, header, 1, 3)
    track_id = yield from read_uint(reader, header, 20 if is_long else 12, 4)
    dimensions = Dimensions()
    if handler == _VIDEO:
        dimensions = yield from _read_dimensions(reader, box, header, 52 if is_long else 40)
    timescale, duration = yield from _read_clock(reader, media_header)
    return _Track(track_id, bool(flags & _ENABLED), handler, dimensions, timescale, duration)


def _read_dimensions(reader: BufferedReader, track: Box, header: Box, matrix_start: int) -> Parser[Dimensions]:
    """Return the dimensions in the header of a track, or else those of its samples, after the rotation."""
    matrix = yield from read_uint(reader, header, matrix_start, _MATRIX_BYTES)
    # Fixed point with 16 bits behind the point.
    width = (yield from read_uint(reader, header, matrix_start + _MATRIX_BYTES, 4)) >> 16
    height = (yield from read_uint(reader, header, matrix_start + _MATRIX_BYTES + 4, 4)) >> 16
    dimensions = Dimensions(width, height).bounded()
    if not dimensions.width:
        dimensions = yield from _read_sample_dimensions(reader, track)
    a, b, _, c, d = struct.unpack(">5i", matrix.to_bytes(_MATRIX_BYTES, "big")[:20])
    is_quarter_turn = a == d == 0 and b != 0 and c != 0
    return dimensions.rotated() if is_quarter_turn else dimensions


def _read_sample_dimensions(reader: BufferedReader, track: Box) -> Parser[Dimensions]:
    """Return the dimensions that the first description of samples states."""
    descriptions = yield from read_path(reader, track, b"mdia", b"minf", b"stbl", b"stsd")
    if descriptions is None or descriptions.length < 44:
        return Dimensions()
    width, height = struct.unpack(">HH", (yield from reader.read(descriptions.payload + 8 + 32, 4)))
    return Dimensions(width, height).bounded()


def _read_clock(reader: BufferedReader, box: Box) -> Parser[tuple[int, int]]:
    """Return timescale, in units per second, and duration of a header `mvhd` or `mdhd`; 0 if it is unknown."""
    is_long = (yield from read_uint(reader, box, 0, 1)) == 1
    timescale = yield from read_uint(reader, box, 20 if is_long else 12, 4)
    length = 8 if is_long else 4
    duration = yield from read_uint(reader, box, 24 if is_long else 16, length)
    return timescale, 0 if duration == 2 ** (8 * length) - 1 else duration


def _read_duration(reader: BufferedReader, movie: Box, children: list[Box], tracks: list[_Track]) -> Parser[int]:
    """Return the playing time in milliseconds that the headers state; 0 if they state none."""
    if (header := find_box(children, b"mvhd")) is None:
        raise Malformed("the film has no header")
    timescale, duration = yield from _read_clock(reader, header)
    if stated := to_milliseconds(duration, timescale):
        return stated
    extends = yield from read_path(reader, movie, b"mvex", b"mehd")
    if extends is not None:
        is_long = (yield from read_uint(reader, extends, 0, 1)) == 1
        duration = yield from read_uint(reader, extends, 4, 8 if is_long else 4)
        if stated := to_milliseconds(duration, timescale):
            return stated
    return max((to_milliseconds(track.duration, track.timescale) for track in tracks), default=0)


def _read_fragmented_duration(
    reader: BufferedReader, movie: Box, tracks: list[_Track], fragments: list[Box]
) -> Parser[int]:
    """Return the end of the last fragment of each track, the greatest of them in milliseconds.

    Recorders that stream state no duration in advance. Fragments without a start time are added up.
    """
    timescales = {track.track_id: track.timescale for track in tracks}
    defaults = yield from read_sample_defaults(reader, movie)
    ends: dict[int, int] = {}
    for fragment in fragments:
        for part in (yield from read_fragment(reader, fragment, defaults)):
            start = ends.get(part.track_id, 0) if part.start_time is None else part.start_time
            ends[part.track_id] = max(start + part.duration, ends.get(part.track_id, 0))
    return max((to_milliseconds(end, timescales.get(track_id, 0)) for track_id, end in ends.items()), default=0)
