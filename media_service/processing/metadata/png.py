"""The removal of private metadata from PNG and APNG files: chunks are dropped, and pictures are copied as they are.

The format is that of the W3C recommendation "Portable Network Graphics (PNG) Specification (Third Edition)".
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser, Segment
from media_service.processing.metadata.orientation import UPRIGHT, encode_orientation, read_orientation
from media_service.processing.metadata.segment_plan import SegmentPlan

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_IHDR_BYTES: Final = 13
_MAX_CHUNK_BYTES: Final = 2**31 - 1
_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_KEPT: Final = _CRITICAL | frozenset(
    # Transparency and colour, then size and palettes, then animation.
    {b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"cICP", b"mDCV", b"cLLI"}
    | {b"bKGD", b"pHYs", b"hIST", b"sPLT"}
    | {b"acTL", b"fcTL", b"fdAT"}
)


def plan_png(size_bytes: int) -> Parser[list[Segment] | None]:
    """Keep the chunks that say how the picture looks, and the orientation; remove all others, and what follows IEND.

    The checksum of every chunk is verified. Raise Malformed.
    """
    return (yield from _PngRewriter(size_bytes).rewrite())


class _PngRewriter:
    def __init__(self, size_bytes: int) -> None:
        self._reader = BufferedReader(size_bytes)
        self._plan = SegmentPlan()
        self._has_exif = False

    def rewrite(self) -> Parser[list[Segment] | None]:
        if (yield from self._reader.read(0, len(_SIGNATURE))) != _SIGNATURE:
            raise Malformed("the PNG file lacks its signature")
        self._plan.keep(0, len(_SIGNATURE))
        start, kind, has_pixels = len(_SIGNATURE), b"", False
        while kind != b"IEND":
            length, kind = struct.unpack(">I4s", (yield from self._reader.read(start, 8)))
            _check_header(length, kind, is_first=start == len(_SIGNATURE))
            yield from self._verify_checksum(start, kind, length)
            yield from self._rewrite_chunk(start, kind, length)
            has_pixels = has_pixels or kind == b"IDAT"
            start += length + 12
        if not has_pixels:
            raise Malformed("the PNG file has no picture")
        return self._plan.finish(self._reader.size_bytes)

    def _verify_checksum(self, start: int, kind: bytes, length: int) -> Parser[None]:
        checksum, position, end = zlib.crc32(kind), start + 8, start + 8 + length
        while position < end:
            block = yield from self._reader.read_block(position, end)
            checksum = zlib.crc32(block, checksum)
            position += len(block)
        if (yield from self._reader.read(end, 4)) != checksum.to_bytes(4, "big"):
            raise Malformed("a chunk of the PNG file has a wrong checksum")

    def _rewrite_chunk(self, start: int, kind: bytes, length: int) -> Parser[None]:
        """Keep, replace or drop the chunk at `start`, whose data have `length` bytes."""
        if kind in _KEPT:
            self._plan.keep(start, length + 12)
        elif kind == b"eXIf" and not self._has_exif:
            self._has_exif = True
            orientation = yield from read_orientation(self._reader, start + 8, length)
            if orientation != UPRIGHT:
                minimal = _encode_chunk(kind, encode_orientation(orientation))
                yield from self._plan.replace_range(self._reader, start, length + 12, minimal)


def _check_header(length: int, kind: bytes, *, is_first: bool) -> None:
    if length > _MAX_CHUNK_BYTES or not kind.isalpha():
        raise Malformed("the PNG file has a chunk that is none")
    if is_first != (kind == b"IHDR") or (is_first and length != _IHDR_BYTES):
        raise Malformed("a PNG file begins with one header")
    if kind[:1].isupper() and kind not in _CRITICAL:
        raise Malformed(f"no decoder knows the chunk {kind.decode()} of the PNG file")


def _encode_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))
