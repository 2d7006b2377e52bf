"""Dimensions and playing time of Matroska and WebM files (RFC 9559), from their headers and their last cluster."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser
from media_service.processing.container_facts import ContainerFacts, Dimensions, to_milliseconds
from media_service.processing.ebml import (
    CLUSTER,
    EBML_HEADER,
    INFO,
    SEGMENT,
    TRACKS,
    Element,
    list_elements,
    read_element,
    read_float_element,
    read_uint_element,
)
from media_service.processing.matroska_clusters import read_last_time

_BLOCK_BYTES: Final = 16 * 1024
_TIMESTAMP_SCALE, _DURATION = 0x2AD7B1, 0x4489
_TRACK, _TRACK_TYPE, _VIDEO = 0xAE, 0x83, 0xE0
_PIXEL_WIDTH, _PIXEL_HEIGHT, _DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0xB0, 0xBA, 0x54B0, 0x54BA, 0x54B2
_CROP_BOTTOM, _CROP_TOP, _CROP_LEFT, _CROP_RIGHT = 0x54AA, 0x54BB, 0x54CC, 0x54DD
_PROJECTION, _POSE_ROLL = 0x7670, 0x7675
_SIZES: Final = frozenset(
    {_PIXEL_WIDTH, _PIXEL_HEIGHT, _DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT}
    | {_CROP_BOTTOM, _CROP_TOP, _CROP_LEFT, _CROP_RIGHT}
)
_VIDEO_TYPE: Final = 1
_DEFAULT_SCALE_NS: Final = 1_000_000
_MAX_HEADERS: Final = 1_000
"""The elements that may come before the tracks."""


@dataclass(frozen=True, slots=True)
class _Timing:
    """Nanoseconds in a unit of time, and the duration in these units; 0 if it is not stated."""

    scale_ns: int
    duration: float


def read_matroska_facts(size_bytes: int) -> Parser[ContainerFacts]:
    """Return the dimensions of the first film track after crop and rotation, and the playing time.

    A live recording states no playing time: it is that of its last block. Raise Malformed if the file has no tracks.
    """
    reader = BufferedReader(size_bytes, _BLOCK_BYTES)
    header = yield from read_element(reader, 0, size_bytes)
    if header.id != EBML_HEADER or header.is_unbounded:
        raise Malformed("the file does not begin with an EBML header")
    segment = yield from read_element(reader, header.end, size_bytes)
    if segment.id != SEGMENT:
        raise Malformed("the file has no segment")
    info, tracks = yield from _find_headers(reader, segment)
    timing = yield from _read_timing(reader, info)
    duration = timing.duration
    if not duration:
        duration = yield from read_last_time(size_bytes, segment)
    has_video, dimensions = yield from _read_tracks(reader, tracks)
    units_per_second = Fraction(1_000_000_000, timing.scale_ns) if timing.scale_ns else 0
    milliseconds = to_milliseconds(duration, units_per_second)
    return ContainerFacts(dimensions.width, dimensions.height, milliseconds, has_video)


def _find_headers(reader: BufferedReader, segment: Element) -> Parser[tuple[Element | None, Element]]:
    """Return the elements `Info`, if there is one before the first cluster, and `Tracks`."""
    found: dict[int, Element] = {}
    start = segment.payload
    for _ in range(_MAX_HEADERS):
        if start >= segment.end or {INFO, TRACKS} <= found.keys():
            break
        element = yield from read_element(reader, start, segment.end)
        if element.id == CLUSTER and (element.is_unbounded or TRACKS in found):
            break
        found.setdefault(element.id, element)
        start = element.end
    if TRACKS not in found:
        raise Malformed("the file has no tracks")
    return found.get(INFO), found[TRACKS]


def _read_timing(reader: BufferedReader, info: Element | None) -> Parser[_Timing]:
    scale_ns, duration = _DEFAULT_SCALE_NS, 0.0
    for element in (yield from list_elements(reader, info)) if info else []:
        if element.id == _TIMESTAMP_SCALE:
            scale_ns = yield from read_uint_element(reader, element)
        elif element.id == _DURATION:
            duration = yield from read_float_element(reader, element)
    return _Timing(scale_ns, duration)


def _read_tracks(reader: BufferedReader, tracks: Element) -> Parser[tuple[bool, Dimensions]]:
    """Say whether there is a film track, and the dimensions of the first one."""
    for track in (yield from list_elements(reader, tracks)):
        if track.id != _TRACK:
            continue
        elements = {element.id: element for element in (yield from list_elements(reader, track))}
        kind = elements.get(_TRACK_TYPE)
        if kind is not None and (yield from read_uint_element(reader, kind)) == _VIDEO_TYPE:
            video = elements.get(_VIDEO)
            dimensions = (yield from _read_dimensions(reader, video)) if video else Dimensions()
            return True, dimensions
    return False, Dimensions()


def _read_dimensions(reader: BufferedReader, video: Element) -> Parser[Dimensions]:
    """Return the dimensions as shown: those for display if they are in pixels, else the pixels without the crop."""
    numbers: dict[int, int] = {}
    is_quarter_turn = False
    for element in (yield from list_elements(reader, video)):
        if element.id == _PROJECTION:
            is_quarter_turn = yield from _has_quarter_turn(reader, element)
        elif element.id in _SIZES:
            numbers[element.id] = yield from read_uint_element(reader, element)
    width = numbers.get(_PIXEL_WIDTH, 0) - numbers.get(_CROP_LEFT, 0) - numbers.get(_CROP_RIGHT, 0)
    height = numbers.get(_PIXEL_HEIGHT, 0) - numbers.get(_CROP_TOP, 0) - numbers.get(_CROP_BOTTOM, 0)
    dimensions = Dimensions(width, height).bounded()
    if numbers.get(_DISPLAY_UNIT, 0) == 0:
        shown = Dimensions(numbers.get(_DISPLAY_WIDTH, width), numbers.get(_DISPLAY_HEIGHT, height)).bounded()
        dimensions = shown if shown.width else dimensions
    return dimensions.rotated() if is_quarter_turn else dimensions


def _has_quarter_turn(reader: BufferedReader, projection: Element) -> Parser[bool]:
    for element in (yield from list_elements(reader, projection)):
        if element.id == _POSE_ROLL:
            return abs((yield from read_float_element(reader, element))) == 90.0
    return False
