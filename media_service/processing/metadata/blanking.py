"""Changes of a file in place: parts become free space, and ranges become zeros, so that every offset stays valid."""

from __future__ import annotations

from media_service.processing.boxes import Box
from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser
from media_service.processing.metadata.segment_plan import MAX_SEGMENTS, SegmentPlan


class Blanking:
    """The ranges of a file of `size_bytes` that are overwritten. A range in one that begins earlier has no effect."""

    def __init__(self, size_bytes: int) -> None:
        self._reader = BufferedReader(size_bytes)
        self._changes: list[tuple[int, int, bytes]] = []

    def free(self, box: Box) -> None:
        """Make a box free space of the same size."""
        self.overwrite(box.start + 4, b"free")
        self.zero(box.payload, box.length)

    def overwrite(self, start: int, new: bytes) -> None:
        """Overwrite a range with `new`, which is not empty."""
        self._add(start, len(new), new)

    def zero(self, start: int, length: int) -> None:
        """Overwrite a range with zeros."""
        if length:
            self._add(start, length, b"")

    def zero_unless_blank(self, start: int, end: int) -> Parser[None]:
        """Overwrite a range with zeros, unless it has nothing else already."""
        position = start
        while position < end:
            block = yield from self._reader.read_block(position, end)
            if block.strip(b"\0"):
                self.zero(start, end - start)
                return
            position += len(block)

    def plan(self, end: int) -> SegmentPlan:
        """Return the plan of the file with these changes, cut off at `end`."""
        plan, position = SegmentPlan(), 0
        for start, length, new in sorted(self._changes):
            change_end = min(start + length, end)
            if change_end <= position:
                continue
            plan.keep(position, max(start - position, 0))
            if new:
                plan.insert(new)
            else:
                plan.insert_zeros(change_end - max(start, position))
            position = change_end
        plan.keep(position, end - position)
        return plan

    def _add(self, start: int, length: int, new: bytes) -> None:
        if len(self._changes) >= MAX_SEGMENTS:
            raise Malformed("the file has too many parts to remove")
        self._changes.append((start, length, new))
