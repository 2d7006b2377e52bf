"""The removal of private metadata from JPEG files: segments are dropped, and pictures are copied as they are.

The format is that of ITU-T T.81 (segments), T.871 (JFIF) and T.872 (Adobe), of EXIF, and of ICC.1 (profiles).
"""

from __future__ import annotations

import re
from typing import Final

from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser, Segment
from media_service.processing.metadata.orientation import EXIF_PREFIX, UPRIGHT, encode_orientation, read_orientation
from media_service.processing.metadata.segment_plan import SegmentPlan

_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker other than the restart markers, which are part of a scan as FF 00 is."""

_SOI, _EOI, _SOS, _COM, _TEM = 0xD8, 0xD9, 0xDA, 0xFE, 0x01
_APP0, _APP1, _APP2, _APP14, _APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
_CODING: Final = frozenset(range(0xC0, 0xD0)) - {0xC8} | {_SOS, 0xDB, 0xDC, 0xDD}
"""Frames, tables, scans, and the numbers of lines and restarts: what a decoder needs."""

_ICC_PREFIX: Final = b"ICC_PROFILE\0"
_JFIF_PREFIX: Final = b"JFIF\0"
_JFIF_BYTES: Final = 14
_ADOBE_PREFIX: Final = b"Adobe"
_ADOBE_BYTES: Final = 12


def plan_jpeg(size_bytes: int) -> Parser[list[Segment] | None]:
    """Keep the coded picture, the colour profile, the Adobe transform and the orientation; remove the rest.

    Bytes after the end of the first picture go too: further pictures, movies, trailers of makers. A file that is
    truncated in its picture stays truncated. Raise Malformed.
    """
    return (yield from _JpegRewriter(size_bytes).rewrite())


class _JpegRewriter:
    def __init__(self, size_bytes: int) -> None:
        self._reader = BufferedReader(size_bytes)
        self._plan = SegmentPlan()
        self._has_jfif = False
        self._has_exif = False

    def rewrite(self) -> Parser[list[Segment] | None]:
        size = self._reader.size_bytes
        if (yield from self._reader.read(0, 2)) != bytes([0xFF, _SOI]):
            raise Malformed("a JPEG file begins with FF D8")
        self._plan.keep(0, 2)
        position, has_scan = 2, False
        while True:
            start = yield from self._reader.find(_MARKER, 2, position)
            if start == size:
                break
            marker = (yield from self._reader.read(start, 2))[1]
            if marker == _EOI:
                self._plan.keep(start, 2)
                break
            position = yield from self._rewrite_segment(start, marker)
            if marker == _SOS:
                has_scan = True
                position = yield from self._keep_scan(position)
        if not has_scan:
            raise Malformed("the JPEG file has no picture")
        return self._plan.finish(size)

    def _keep_scan(self, start: int) -> Parser[int]:
        """Keep the coded data of a scan, and return its end."""
        end = yield from self._reader.find(_MARKER, 2, start)
        self._plan.keep(start, end - start)
        return end

    def _rewrite_segment(self, start: int, marker: int) -> Parser[int]:
        """Keep, replace or drop the segment at `start`, and return its end."""
        if marker == _TEM:
            return start + 2
        length = int.from_bytes((yield from self._reader.read(start + 2, 2)), "big")
        end = start + 2 + length
        if length < 2 or end > self._reader.size_bytes:
            raise Malformed("a segment of the JPEG file has a wrong length")
        if marker in _CODING:
            self._plan.keep(start, end - start)
        elif _APP0 <= marker <= _APP15:
            yield from self._rewrite_application_data(start, end, marker)
        elif marker != _COM:
            raise Malformed(f"the JPEG file has an unknown segment {marker:02X}")
        return end

    def _rewrite_application_data(self, start: int, end: int, marker: int) -> Parser[None]:
        segment = yield from self._reader.read(start, end - start)
        payload = segment[4:]
        if marker == _APP0 and payload.startswith(_JFIF_PREFIX) and len(payload) >= _JFIF_BYTES and not self._has_jfif:
            self._has_jfif = True
            without_thumbnail = payload[: _JFIF_BYTES - 2] + b"\0\0"
            self._plan.replace(start, segment, _encode_segment(_APP0, without_thumbnail))
        elif marker == _APP1 and payload.startswith(EXIF_PREFIX) and not self._has_exif:
            self._has_exif = True
            orientation = yield from read_orientation(self._reader, start + 4, len(payload))
            if orientation != UPRIGHT:
                minimal = EXIF_PREFIX + encode_orientation(orientation)
                self._plan.replace(start, segment, _encode_segment(_APP1, minimal))
        elif marker == _APP2 and payload.startswith(_ICC_PREFIX):
            self._plan.keep(start, end - start)
        elif marker == _APP14 and payload.startswith(_ADOBE_PREFIX) and len(payload) >= _ADOBE_BYTES:
            self._plan.replace(start, segment, _encode_segment(_APP14, payload[:_ADOBE_BYTES]))


def _encode_segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload
