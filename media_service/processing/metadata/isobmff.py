"""The removal of private metadata from MP4, M4A, 3GP and QuickTime files: boxes become free space where they are.

No byte moves, so every offset to a sample stays valid, and the contents of the samples are not read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from media_service.processing.boxes import (
    FREE_SPACE,
    MAX_BOXES,
    Box,
    find_box,
    list_children,
    list_top_level,
    open_boxes,
    read_path,
    read_uint,
)
from media_service.processing.buffered_reader import Malformed
from media_service.processing.byte_ranges import Parser, Segment
from media_service.processing.fragments import read_fragment, read_sample_defaults
from media_service.processing.metadata.blanking import Blanking
from media_service.processing.metadata.kept_boxes import (
    CONTENT_HANDLERS,
    FILE,
    KEPT,
    TAGS_HANDLER,
    TIMED,
    USER_DATA,
    VIDEO_HANDLER,
)
from media_service.processing.metadata.sample_ranges import read_sample_ranges

_FULL_BOX_BYTES = 4
"""The version and flags that some boxes have before their contents."""


def plan_isobmff(size_bytes: int) -> Parser[list[Segment] | None]:
    """Blank the tags, the times of recording, the tracks that record the camera, and boxes that no player needs.

    Sounds without a film keep their title, artist and the like. Bytes after the last box are cut off. Raise Malformed.
    """
    return (yield from _MovieRewriter(size_bytes).rewrite())


class _MovieRewriter:
    def __init__(self, size_bytes: int) -> None:
        self._reader = open_boxes(size_bytes)
        self._blanking = Blanking(size_bytes)
        self._user_data: list[Box] = []
        self._handlers: set[bytes] = set()
        self._removed_tracks: set[int] = set()
        self._data: list[Box] = []

    def rewrite(self) -> Parser[list[Segment] | None]:
        boxes = yield from list_top_level(self._reader)
        movies = [box for box in boxes if box.kind == b"moov"]
        if len(movies) != 1:
            raise Malformed("the film has no header, or several")
        if find_box((yield from list_children(self._reader, movies[0])), b"mvhd") is None:
            raise Malformed("the header of the film is empty, or compressed")
        self._data = [box for box in boxes if box.kind == b"mdat"]
        yield from self._visit(boxes, FILE)
        if self._removed_tracks:
            yield from self._blank_fragments(boxes, movies[0])
        while self._user_data:
            yield from self._rewrite_user_data(self._user_data.pop())
        return self._blanking.plan(boxes[-1].end).finish(self._reader.size_bytes)

    def _visit(self, boxes: list[Box], parent: bytes) -> Parser[None]:
        """Blank the boxes of a container that are not kept, and visit those that are."""
        for box in boxes:
            if box.kind in FREE_SPACE:
                yield from self._blanking.zero_unless_blank(box.payload, box.end)
            elif box.kind in USER_DATA:
                self._postpone(box)
            elif box.kind not in KEPT[parent]:
                self._blanking.free(box)
            elif box.kind in TIMED:
                yield from self._blank_times(box)
            elif box.kind == b"trak":
                yield from self._visit_track(box)
            elif box.kind in KEPT:
                yield from self._visit((yield from list_children(self._reader, box)), box.kind)

    def _visit_track(self, track: Box) -> Parser[None]:
        handler = yield from self._read_handler((yield from read_path(self._reader, track, b"mdia", b"hdlr")))
        self._handlers.add(handler)
        if handler in CONTENT_HANDLERS:
            yield from self._visit((yield from list_children(self._reader, track)), b"trak")
            return
        header = yield from read_path(self._reader, track, b"tkhd")
        if header is not None:
            version = yield from read_uint(self._reader, header, 0, 1)
            self._removed_tracks.add((yield from read_uint(self._reader, header, 20 if version == 1 else 12, 4)))
        self._blank_samples((yield from read_sample_ranges(self._reader, track)))
        self._blanking.free(track)

    def _read_handler(self, box: Box | None) -> Parser[bytes]:
        """Return the type in a box `hdlr`."""
        if box is None:
            raise Malformed("a track or a list of tags does not state its type")
        return (yield from read_uint(self._reader, box, 8, 4)).to_bytes(4, "big")

    def _blank_times(self, box: Box) -> Parser[None]:
        version = yield from read_uint(self._reader, box, 0, 1)
        length = 16 if version == 1 else 8
        if (yield from read_uint(self._reader, box, _FULL_BOX_BYTES, length)) != 0:
            self._blanking.zero(box.payload + _FULL_BOX_BYTES, length)

    def _blank_fragments(self, boxes: list[Box], movie: Box) -> Parser[None]:
        """Blank the samples of removed tracks in fragments, and their lists unless another track counts on them."""
        defaults = yield from read_sample_defaults(self._reader, movie)
        for box in boxes:
            if box.kind == b"moof":
                parts = yield from read_fragment(self._reader, box, defaults)
                removed = [part for part in parts if part.track_id in self._removed_tracks]
                can_free = all(part.is_relocatable for part in parts)
                for part in removed:
                    self._blank_samples(part.ranges)
                    if can_free:
                        self._blanking.free(part.box)

    def _blank_samples(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Blank ranges, which lie in boxes `mdat`."""
        starts = [box.payload for box in self._data]
        for start, length in ranges:
            index = bisect_right(starts, start) - 1
            if length and (index < 0 or start + length > self._data[index].end):
                raise Malformed("a track has samples outside of the data")
            self._blanking.zero(start, length)

    def _postpone(self, box: Box) -> None:
        """Remember user data until it is known whether there is a film."""
        if len(self._user_data) >= MAX_BOXES:
            raise Malformed("the file has too many boxes")
        self._user_data.append(box)

    def _rewrite_user_data(self, box: Box) -> Parser[None]:
        """Blank tags: all of a film, or if they are damaged; else those that are not title, artist and the like."""
        if VIDEO_HANDLER in self._handlers:
            self._blanking.free(box)
            return
        try:
            yield from self._visit((yield from self._list_tags(box)), box.kind)
        except Malformed:
            self._blanking.free(box)

    def _list_tags(self, box: Box) -> Parser[list[Box]]:
        """Return the boxes in user data. Raise Malformed if they are of a kind that is not read here."""
        if box.kind == b"udta":
            return (yield from list_children(self._reader, box))
        # QuickTime has no version and flags here, MP4 has.
        is_plain = box.length >= 8 and (yield from self._reader.read(box.payload + 4, 4)) == b"hdlr"
        children = yield from list_children(self._reader, box, 0 if is_plain else _FULL_BOX_BYTES)
        if (yield from self._read_handler(find_box(children, b"hdlr"))) != TAGS_HANDLER:
            raise Malformed("the tags are not those of a sound")
        return children
