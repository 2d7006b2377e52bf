"""The removal of private metadata from Matroska and WebM files: elements become `Void` where they are (RFC 9559)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser, Segment
from media_service.processing.ebml import (
    CLUSTER,
    EBML_HEADER,
    INFO,
    SEGMENT,
    TRACKS,
    Element,
    list_elements,
    read_element,
)
from media_service.processing.metadata.blanking import Blanking

_SEEK_HEAD, _SEEK, _SEEK_ID = 0x114D9B74, 0x4DBB, 0x53AB
_TAGS, _ATTACHMENTS = 0x1254C367, 0x1941A469
_DATE, _TITLE, _FILE_NAME, _PREVIOUS_FILE_NAME, _NEXT_FILE_NAME = 0x4461, 0x7BA9, 0x7384, 0x3C83AB, 0x3E83BB
_VOID, _CHECKSUM = 0xEC, 0xBF
_REMOVED: Final = MappingProxyType[int, frozenset[int]](
    {
        SEGMENT: frozenset({_TAGS, _ATTACHMENTS}),
        INFO: frozenset({_DATE, _TITLE, _FILE_NAME, _PREVIOUS_FILE_NAME, _NEXT_FILE_NAME}),
    }
)


def plan_matroska(size_bytes: int) -> Parser[list[Segment] | None]:
    """Void the tags, the attachments, and title, time and file names of the recording.

    An element that a live recording ends in is cut off, and so is all that follows the segment. Of a live recording,
    every block is visited: its clusters do not say where they end. Raise Malformed.
    """
    return (yield from _MatroskaRewriter(size_bytes).rewrite())


class _MatroskaRewriter:
    def __init__(self, size_bytes: int) -> None:
        self._reader = BufferedReader(size_bytes)
        self._blanking = Blanking(size_bytes)
        self._has_tracks = False

    def rewrite(self) -> Parser[list[Segment] | None]:
        size = self._reader.size_bytes
        header = yield from read_element(self._reader, 0, size)
        if header.id != EBML_HEADER or header.is_unbounded:
            raise Malformed("the file does not begin with an EBML header")
        segment = yield from read_element(self._reader, header.end, size)
        if segment.id != SEGMENT:
            raise Malformed("the file has no segment")
        position = segment.payload
        while position < segment.end:
            element = yield from self._read_next(position, segment)
            if element is None:
                break
            position = yield from self._visit(element)
        if not self._has_tracks:
            raise Malformed("the file has no tracks")
        return self._blanking.plan(position).finish(size)

    def _read_next(self, position: int, segment: Element) -> Parser[Element | None]:
        """Return the element at `position`; None if a live recording ends in it."""
        try:
            return (yield from read_element(self._reader, position, segment.end))
        except Malformed:
            if not segment.is_unbounded:
                raise
            return None

    def _visit(self, element: Element) -> Parser[int]:
        """Void or keep an element of the segment, and return where the next one starts.

        The checksum of a container goes with what it covered.
        """
        if element.id == _VOID:
            yield from self._blanking.zero_unless_blank(element.payload, element.end)
        elif element.id in _REMOVED[SEGMENT] or element.id == _CHECKSUM:
            self._void(element)
        elif element.id == INFO:
            yield from self._void_children(element, _REMOVED[INFO])
        elif element.id == _SEEK_HEAD:
            yield from self._void_children(element, _REMOVED[SEGMENT])
        elif element.is_unbounded:
            if element.id != CLUSTER:
                raise Malformed("an element other than a cluster does not state its size")
            return element.payload  # What follows are blocks, which are kept as elements of the segment would be.
        self._has_tracks = self._has_tracks or element.id == TRACKS
        return element.end

    def _void_children(self, parent: Element, removed: frozenset[int]) -> Parser[None]:
        """Void the children with these ids, or, of an index, the entries that lead to elements with these ids."""
        children = yield from list_elements(self._reader, parent)
        targets: list[int] = []
        for child in children:
            target = (yield from self._read_seek_id(child)) if child.id == _SEEK else child.id
            targets.append(target)
        if removed.isdisjoint(targets):
            return
        for child, target in zip(children, targets, strict=True):
            if target in removed or child.id == _CHECKSUM:
                self._void(child)

    def _read_seek_id(self, entry: Element) -> Parser[int]:
        for child in (yield from list_elements(self._reader, entry)):
            if child.id == _SEEK_ID and child.length <= 4:
                return int.from_bytes((yield from self._reader.read(child.payload, child.length)), "big")
        return 0

    def _void(self, element: Element) -> None:
        """Make an element free space of the same size."""
        size = element.end - element.start
        if element.is_unbounded:
            raise Malformed("an element to remove does not state its size")
        # The size of the contents takes 1 byte of the header, or 8 if they are longer than 1 byte can say.
        width = 1 if size - 2 < 127 else 8
        contents = size - 1 - width
        header = bytes([_VOID]) + (contents | 1 << 7 * width).to_bytes(width, "big")
        self._blanking.overwrite(element.start, header)
        self._blanking.zero(element.start + len(header), contents)
