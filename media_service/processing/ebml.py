"""The elements of EBML (RFC 8794), the format beneath Matroska and WebM, and the ids of the outermost ones."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from media_service.processing.buffered_reader import BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser

EBML_HEADER: Final = 0x1A45DFA3
SEGMENT: Final = 0x18538067
INFO: Final = 0x1549A966
TRACKS: Final = 0x1654AE6B
CLUSTER: Final = 0x1F43B675
"""The elements of Matroska that every reader of it needs: the segment holds the last three."""

MAX_ELEMENTS: Final = 10_000
"""The elements of one container of which a list is made."""

_MAX_ID_BYTES: Final = 4
_MAX_SIZE_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Element:
    """An element: its id, where it starts, where its contents start, and its end.

    `end` is that of its container if it states none.
    """

    id: int
    start: int
    payload: int
    end: int
    is_unbounded: bool

    @property
    def length(self) -> int:
        """The size of the contents in bytes."""
        return self.end - self.payload


def read_element(reader: BufferedReader, start: int, end: int) -> Parser[Element]:
    """Return the element at `start` of a container that ends at `end`. Raise Malformed if it exceeds its container."""
    id_bytes = yield from _read_width(reader, start, _MAX_ID_BYTES)
    element_id = int.from_bytes((yield from reader.read(start, id_bytes)), "big")
    size_bytes = yield from _read_width(reader, start + id_bytes, _MAX_SIZE_BYTES)
    number = int.from_bytes((yield from reader.read(start + id_bytes, size_bytes)), "big")
    mask = 2 ** (7 * size_bytes) - 1
    size, payload = number & mask, start + id_bytes + size_bytes
    is_unbounded = size == mask
    element_end = end if is_unbounded else payload + size
    if payload > end or element_end > end:
        raise Malformed(f"an element at {start} exceeds its container")
    return Element(element_id, start, payload, element_end, is_unbounded)


def list_elements(reader: BufferedReader, parent: Element) -> Parser[list[Element]]:
    """Return the elements in an element. Raise Malformed."""
    elements: list[Element] = []
    start = parent.payload
    while start < parent.end:
        if len(elements) >= MAX_ELEMENTS:
            raise Malformed("the file has too many elements")
        element = yield from read_element(reader, start, parent.end)
        elements.append(element)
        start = element.end
    return elements


def read_uint_element(reader: BufferedReader, element: Element) -> Parser[int]:
    """Return the number in an element, of at most 8 bytes. Raise Malformed."""
    if element.length > 8:
        raise Malformed("a number has more than 8 bytes")
    return int.from_bytes((yield from reader.read(element.payload, element.length)), "big")


def read_float_element(reader: BufferedReader, element: Element) -> Parser[float]:
    """Return the floating-point number in an element, of 0, 4 or 8 bytes. Raise Malformed."""
    number = yield from reader.read(element.payload, min(element.length, 9))
    match len(number):
        case 0:
            return 0.0
        case 4:
            return float(struct.unpack(">f", number)[0])
        case 8:
            return float(struct.unpack(">d", number)[0])
        case _:
            raise Malformed("a floating-point number has neither 4 nor 8 bytes")


def _read_width(reader: BufferedReader, start: int, most: int) -> Parser[int]:
    """Return the bytes of the number of variable size at `start`: the leading zeros of its first byte, and one."""
    width = 9 - (yield from reader.read(start, 1))[0].bit_length()
    if width > most:
        raise Malformed(f"a number at {start} has more than {most} bytes")
    return width
