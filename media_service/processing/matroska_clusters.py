"""The playing time of Matroska and WebM recordings that state none: the time of the last block (RFC 9559)."""

from __future__ import annotations

import re
from typing import Final

from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser
from media_service.processing.ebml import CLUSTER, Element, list_elements, read_element, read_uint_element

_CLUSTER_ID: Final = re.compile(re.escape(CLUSTER.to_bytes(4, "big")))
_TIMESTAMP, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK = 0xE7, 0xA3, 0xA0, 0xA1
_OTHERS: Final = frozenset({0xA7, 0xAB, 0xAF, 0xBF, 0xEC, 0x5854})
"""Position, size of the one before, encrypted block, checksum, padding, silent tracks."""

_TAIL_WINDOWS: Final = (256 * 1024, 2 * 1024 * 1024, 16 * 1024 * 1024)
"""The parts of the end of a file that are searched for its last cluster, in bytes, until one is found."""


def read_last_time(size_bytes: int, segment: Element) -> Parser[int]:
    """Return the time of the last block in units of the segment; 0 if no cluster is near the end."""
    for window in _TAIL_WINDOWS:
        first = max(segment.payload, segment.end - window)
        last = yield from _read_last_cluster(BufferedReader(size_bytes), first, segment.end)
        if last or first == segment.payload:
            return last
    return 0


def _read_last_cluster(reader: BufferedReader, start: int, end: int) -> Parser[int]:
    """Return the greatest time of a block in the clusters from `start`; 0 if there is none."""
    last = 0
    while (found := (yield from reader.find(_CLUSTER_ID, 4, start))) < end:
        time, start = yield from _read_cluster(reader, found, end)
        last = max(last, time)
    return last


def _read_cluster(reader: BufferedReader, start: int, end: int) -> Parser[tuple[int, int]]:
    """Return the greatest time of a block in the cluster at `start`, and the offset up to which it was read.

    The bytes of the id may be part of a block instead: then the time is 0.
    """
    position, base, last = start + 4, None, 0
    try:
        cluster = yield from read_element(reader, start, end)
        position = cluster.payload
        while position < cluster.end:
            element = yield from read_element(reader, position, cluster.end)
            if element.id == _TIMESTAMP:
                base = yield from read_uint_element(reader, element)
            elif element.id in (_SIMPLE_BLOCK, _BLOCK_GROUP):
                if base is None:
                    break
                last = max(last, base + (yield from _read_block_time(reader, element)))
            elif element.id not in _OTHERS:
                break
            position = element.end
    except Malformed:
        pass  # The recording ends within this cluster, or these bytes are no cluster.
    return last, position


def _read_block_time(reader: BufferedReader, element: Element) -> Parser[int]:
    """Return the time of a block relative to its cluster: the two bytes after the number of its track."""
    if element.id == _BLOCK_GROUP:
        blocks = yield from list_elements(reader, element)
        element = next((block for block in blocks if block.id == _BLOCK), element)
    width = 9 - (yield from reader.read(element.payload, 1))[0].bit_length()
    return int.from_bytes((yield from reader.read(element.payload + width, 2)), "big", signed=True)
