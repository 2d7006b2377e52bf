"""The removal of private metadata from GIF files: extensions are dropped, and frames are copied as they are.

The format is that of CompuServe's "Graphics Interchange Format, Version 89a".
"""

from __future__ import annotations

from typing import Final

from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser, Segment
from media_service.processing.metadata.segment_plan import SegmentPlan

_HEADER_BYTES: Final = 13
_DESCRIPTOR_BYTES: Final = 10
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL, _APPLICATION = 0xF9, 0xFF
_LOOPS: Final = frozenset({b"NETSCAPE2.0", b"ANIMEXTS1.0"})
_PROFILE: Final = b"ICCRGBG1012"
_NAME_BYTES: Final = 11


def plan_gif(size_bytes: int) -> Parser[list[Segment] | None]:
    """Keep frames, their timing, the number of loops and the colour profile; remove the rest and what follows the end.

    A file without a trailer gets one. Raise Malformed.
    """
    return (yield from _GifRewriter(size_bytes).rewrite())


class _GifRewriter:
    def __init__(self, size_bytes: int) -> None:
        self._reader = BufferedReader(size_bytes)
        self._plan = SegmentPlan()

    def rewrite(self) -> Parser[list[Segment] | None]:
        size = self._reader.size_bytes
        header = yield from self._reader.read(0, _HEADER_BYTES)
        if header[:6] not in (b"GIF87a", b"GIF89a"):
            raise Malformed("the GIF file lacks its signature")
        position, has_frame, kind = _HEADER_BYTES + _table_bytes(header[10]), False, 0
        self._plan.keep(0, position)
        while kind != _TRAILER and position < size:
            kind = (yield from self._reader.read(position, 1))[0]
            if kind == _IMAGE:
                has_frame = True
                position = yield from self._keep_frame(position)
            elif kind == _EXTENSION:
                position = yield from self._rewrite_extension(position)
            elif kind == 0:
                position += 1  # Some encoders pad blocks with zeros.
            elif kind != _TRAILER:
                raise Malformed("the GIF file has an unknown block")
        if not has_frame:
            raise Malformed("the GIF file has no picture")
        if kind == _TRAILER:
            self._plan.keep(position, 1)
        else:
            self._plan.insert(bytes([_TRAILER]))
        return self._plan.finish(size)

    def _keep_frame(self, start: int) -> Parser[int]:
        """Keep the image at `start`, and return its end."""
        descriptor = yield from self._reader.read(start, _DESCRIPTOR_BYTES)
        end = yield from self._skip_blocks(start + _DESCRIPTOR_BYTES + _table_bytes(descriptor[9]) + 1)
        self._plan.keep(start, end - start)
        return end

    def _rewrite_extension(self, start: int) -> Parser[int]:
        """Keep, replace or drop the extension at `start`, and return its end."""
        _, label, length = yield from self._reader.read(start, 3)
        end = yield from self._skip_blocks(start + 2)
        if label == _GRAPHIC_CONTROL:
            if length != 4 or end - start != 8:
                raise Malformed("the GIF file has a graphic control of a wrong length")
            self._plan.keep(start, end - start)
        elif label == _APPLICATION and length == _NAME_BYTES:
            name = yield from self._reader.read(start + 3, _NAME_BYTES)
            if name == _PROFILE:
                self._plan.keep(start, end - start)
            elif name in _LOOPS:
                yield from self._rewrite_loops(start, end)
        return end

    def _rewrite_loops(self, start: int, end: int) -> Parser[None]:
        """Keep the number of loops of the extension, and nothing else of it."""
        names_end = start + 3 + _NAME_BYTES
        block = yield from self._reader.read(names_end, min(4, end - names_end))
        if len(block) == 4 and block[0] >= 3 and block[1] == 1:
            header = yield from self._reader.read(start, names_end - start)
            yield from self._plan.replace_range(
                self._reader, start, end - start, header + b"\x03\x01" + block[2:] + b"\0"
            )

    def _skip_blocks(self, position: int) -> Parser[int]:
        """Return the end of the sub-blocks that begin at `position`."""
        while (length := (yield from self._reader.read(position, 1))[0]) != 0:
            position += 1 + length
        return position + 1


def _table_bytes(flags: int) -> int:
    """Return the size of the colour table that these flags announce; 0 if there is none."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
