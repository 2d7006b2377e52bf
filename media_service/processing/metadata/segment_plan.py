"""The plan of a rewritten file, built from front to back: what is copied from the original, and what is new."""

from __future__ import annotations

from typing import Final

from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import ByteRange, Parser, Segment, segments_size

MAX_SEGMENTS: Final = 60_000
"""The segments of one plan: what bounds the memory that a plan takes, to about 10 MB."""

ZEROS: Final = bytes(64 * 1024)
"""The bytes that blank a range. One object serves all ranges, so that a plan is small however much it blanks."""


class SegmentPlan:
    """A growing list of segments. Ranges that follow one another in the original are joined."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []

    def keep(self, offset: int, length: int) -> None:
        """Copy a range of the original."""
        if length == 0:
            return
        last = self.segments[-1] if self.segments else None
        if isinstance(last, ByteRange) and last.offset + last.length == offset:
            self.segments[-1] = ByteRange(last.offset, last.length + length)
        else:
            self._add(ByteRange(offset, length))

    def insert(self, new: bytes) -> None:
        """Add bytes that the original does not have."""
        if new:
            self._add(new)

    def insert_zeros(self, length: int) -> None:
        """Add `length` zero bytes."""
        whole, rest = divmod(length, len(ZEROS))
        for _ in range(whole):
            self._add(ZEROS)
        self.insert(ZEROS[:rest])

    def replace(self, offset: int, original: bytes, new: bytes) -> None:
        """Put `new` in the stead of the bytes at `offset`, or copy them if they are the same."""
        if original == new:
            self.keep(offset, len(original))
        else:
            self.insert(new)

    def replace_range(self, reader: BufferedReader, offset: int, length: int, new: bytes) -> Parser[None]:
        """Put `new` in the stead of a range, or copy the range if its bytes are the same."""
        if length == len(new) and (yield from reader.read(offset, length)) == new:
            self.keep(offset, length)
        else:
            self.insert(new)

    def extend(self, plan: SegmentPlan) -> None:
        """Add the segments of another plan."""
        for segment in plan.segments:
            if isinstance(segment, ByteRange):
                self.keep(segment.offset, segment.length)
            else:
                self.insert(segment)

    @property
    def size_bytes(self) -> int:
        """The size of what was planned so far."""
        return segments_size(self.segments)

    def finish(self, size_bytes: int) -> list[Segment] | None:
        """Return the segments; None if they are the original of `size_bytes` as it is."""
        return None if self.segments == [ByteRange(0, size_bytes)] else self.segments

    def _add(self, segment: Segment) -> None:
        if len(self.segments) >= MAX_SEGMENTS:
            raise Malformed("the file has too many parts to remove")
        self.segments.append(segment)
