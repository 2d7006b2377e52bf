"""The removal of private metadata from WebP files: chunks are dropped, and pictures are copied as they are.

The format is that of Google's "WebP Container Specification" (RFC 9649).
"""

from __future__ import annotations

import struct
from typing import Final

from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser, Segment
from media_service.processing.metadata.orientation import UPRIGHT, encode_orientation, read_orientation
from media_service.processing.metadata.segment_plan import SegmentPlan

_RIFF_BYTES: Final = 12
_EXTENDED_BYTES: Final = 10
_FRAME_HEADER_BYTES: Final = 16
_HAS_EXIF, _KEPT_FLAGS = 0x08, 0x20 | 0x10 | 0x02
"""The flag of EXIF, and those of a profile, of transparency and of animation."""

_BITSTREAMS: Final = frozenset({b"VP8 ", b"VP8L"})
_FRAME_CHUNKS: Final = _BITSTREAMS | {b"ALPH"}
_EXTENDED_CHUNKS: Final = _FRAME_CHUNKS | {b"ICCP", b"ANIM"}


def plan_webp(size_bytes: int) -> Parser[list[Segment] | None]:
    """Keep pictures, animation, the colour profile and the orientation; remove all other chunks and what follows.

    The flags of the header and the sizes of the containers are corrected. Raise Malformed.
    """
    return (yield from _WebpRewriter(size_bytes).rewrite())


class _WebpRewriter:
    def __init__(self, size_bytes: int) -> None:
        self._reader = BufferedReader(size_bytes)
        self._body = SegmentPlan()
        self._has_picture = False
        self._orientation: int | None = None

    def rewrite(self) -> Parser[list[Segment] | None]:
        header = yield from self._reader.read(0, _RIFF_BYTES)
        magic, riff_bytes, form = struct.unpack("<4sI4s", header)
        end = riff_bytes + 8
        if magic != b"RIFF" or form != b"WEBP" or end > self._reader.size_bytes:
            raise Malformed("the WebP file lacks its header, or is truncated")
        start, extended = _RIFF_BYTES, SegmentPlan()
        original = yield from self._read_extended_header()
        if original:
            start += len(original)
        while end - start >= 8:
            start = yield from self._rewrite_chunk(start, end, is_extended=bool(original))
        if not self._has_picture:
            raise Malformed("the WebP file has no picture")
        if original:
            extended.replace(_RIFF_BYTES, original, self._correct_flags(original))
        plan = SegmentPlan()
        size_bytes = 4 + extended.size_bytes + self._body.size_bytes
        plan.replace(0, header, struct.pack("<4sI4s", magic, size_bytes, form))
        plan.extend(extended)
        plan.extend(self._body)
        return plan.finish(self._reader.size_bytes)

    def _read_extended_header(self) -> Parser[bytes]:
        """Return the chunk VP8X; no bytes if the file is of the simple format."""
        kind, length = struct.unpack("<4sI", (yield from self._reader.read(_RIFF_BYTES, 8)))
        if kind in _BITSTREAMS:
            return b""
        if kind != b"VP8X" or length != _EXTENDED_BYTES:
            raise Malformed("the WebP file does not begin with a picture or a header")
        return (yield from self._reader.read(_RIFF_BYTES, 8 + _EXTENDED_BYTES))

    def _correct_flags(self, header: bytes) -> bytes:
        flags = header[8] & _KEPT_FLAGS
        if self._orientation not in (None, UPRIGHT):
            flags |= _HAS_EXIF
        return header[:8] + bytes([flags, 0, 0, 0]) + header[12:]

    def _rewrite_chunk(self, start: int, end: int, *, is_extended: bool) -> Parser[int]:
        """Keep, replace or drop the chunk at `start`, and return its end."""
        kind, length, chunk_end = yield from self._read_chunk_header(start, end)
        if not is_extended:
            if kind in _BITSTREAMS and not self._has_picture:
                self._has_picture = True
                self._body.keep(start, chunk_end - start)
        elif kind == b"VP8X":
            raise Malformed("the WebP file has two headers")
        elif kind in _EXTENDED_CHUNKS:
            self._has_picture = self._has_picture or kind in _BITSTREAMS
            self._body.keep(start, chunk_end - start)
        elif kind == b"ANMF":
            self._has_picture = True
            yield from self._rewrite_frame(start, length, chunk_end)
        elif kind == b"EXIF" and self._orientation is None:
            yield from self._rewrite_exif(start, length)
        return chunk_end

    def _read_chunk_header(self, start: int, end: int) -> Parser[tuple[bytes, int, int]]:
        """Return kind, length of the data, and end of a chunk. The last chunk may lack its padding."""
        kind, length = struct.unpack("<4sI", (yield from self._reader.read(start, 8)))
        if start + 8 + length > end:
            raise Malformed("a chunk of the WebP file exceeds its container")
        return kind, length, min(start + 8 + length + length % 2, end)

    def _rewrite_frame(self, start: int, length: int, chunk_end: int) -> Parser[None]:
        """Keep a frame of an animation, but for the chunks in it that are no picture."""
        header_end, end = start + 8 + _FRAME_HEADER_BYTES, start + 8 + length
        if header_end > end:
            raise Malformed("a frame of the WebP file is too short")
        frame, position = SegmentPlan(), header_end
        while end - position >= 8:
            kind, _, next_position = yield from self._read_chunk_header(position, end)
            if kind in _FRAME_CHUNKS:
                frame.keep(position, next_position - position)
            position = next_position
        header = yield from self._reader.read(start, header_end - start)
        frame_bytes = _FRAME_HEADER_BYTES + frame.size_bytes
        self._body.replace(start, header, header[:4] + struct.pack("<I", frame_bytes) + header[8:])
        self._body.extend(frame)
        if frame_bytes == length:
            self._body.keep(end, chunk_end - end)
        elif frame_bytes % 2:
            self._body.insert(b"\0")

    def _rewrite_exif(self, start: int, length: int) -> Parser[None]:
        self._orientation = yield from read_orientation(self._reader, start + 8, length)
        if self._orientation == UPRIGHT:
            return
        payload = encode_orientation(self._orientation)
        minimal = b"EXIF" + struct.pack("<I", len(payload)) + payload
        yield from self._body.replace_range(self._reader, start, 8 + length, minimal)
