"""Recordings in WebM, built element by element."""

from __future__ import annotations

import struct

UNKNOWN_SIZE = b"\x01" + b"\xff" * 7
INFO, TRACKS, CLUSTER = b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75"
TAGS, ATTACHMENTS, SEEK_HEAD = b"\x12\x54\xc3\x67", b"\x19\x41\xa4\x69", b"\x11\x4d\x9b\x74"


def element(element_id: bytes, *contents: bytes) -> bytes:
    payload = b"".join(contents)
    return element_id + struct.pack(">Q", 2**56 + len(payload)) + payload


def number(element_id: bytes, value: int, length: int = 2) -> bytes:
    return element_id + bytes([0x80 | length]) + value.to_bytes(length, "big")


def video_track(*more: bytes) -> bytes:
    size = number(b"\xb0", 1280) + number(b"\xba", 720)
    return element(b"\xae", number(b"\xd7", 1, 1), number(b"\x83", 1, 1), element(b"\xe0", size, *more))


SOUND_TRACK = element(b"\xae", number(b"\xd7", 2, 1), number(b"\x83", 2, 1))


def block(relative: int, payload: bytes = b"frame") -> bytes:
    return b"\x81" + struct.pack(">h", relative) + b"\x80" + payload


def cluster(time: int, *blocks: bytes, unbounded: bool = False) -> bytes:
    contents = number(b"\xe7", time, 4) + b"".join(blocks)
    return CLUSTER + (UNKNOWN_SIZE + contents if unbounded else element(b"", contents))


def webm(*contents: bytes, unbounded: bool = False) -> bytes:
    header = element(b"\x1a\x45\xdf\xa3", b"\x42\x82\x84webm")
    payload = b"".join(contents)
    segment = b"\x18\x53\x80\x67"
    return header + segment + (UNKNOWN_SIZE + payload if unbounded else element(b"", payload))


def info(*contents: bytes) -> bytes:
    return element(INFO, *contents)


DURATION = b"\x44\x89\x88" + struct.pack(">d", 2500.0)
SIMPLE = element(b"\xa3", block(0))


def seek_head(*ids: bytes) -> bytes:
    entries = [element(b"\x4d\xbb", b"\x53\xab\x84" + found, number(b"\x53\xac", 0, 4)) for found in ids]
    return element(SEEK_HEAD, b"\xbf\x84CRC!", *entries)


def tags() -> bytes:
    """Return the place of a recording as a tag."""
    tag = element(b"\x67\xc8", element(b"\x45\xa3", b"LOCATION"), element(b"\x44\x87", b"+52.5170+013.3889/"))
    return element(TAGS, element(b"\x73\x73", tag))


def private_info() -> bytes:
    """Return title, time and file name beside what a player needs."""
    return info(
        b"\xbf\x84CRC!",
        DURATION,
        element(b"\x7b\xa9", b"MAKER-SECRET"),
        element(b"\x44\x61", b"SERIAL-SECRET"[:8]),
        b"\x73\x84\x8aGPS-SECRET",
        element(b"\x57\x41", b"writer"),
    )
