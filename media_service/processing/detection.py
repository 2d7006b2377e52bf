"""The media type of a file, detected from its first bytes.

Only types of this module's tables are returned, and a browser runs none of them: SVG, HTML and XML are plain files.
"""

from __future__ import annotations

import re
from typing import Final

import filetype

HEAD_BYTES: Final = 8192
"""The number of bytes from the start of a file that `detect` uses."""

UNKNOWN_TYPE: Final = "application/octet-stream"

PICTURE_TYPES: Final = frozenset({"image/avif", "image/gif", "image/heic", "image/jpeg", "image/png", "image/webp"})
"""The types of pictures that workers decode."""

SOUND_TYPES: Final = frozenset(
    {"audio/aac", "audio/aiff", "audio/flac", "audio/mp4", "audio/mpeg", "audio/ogg", "audio/wav"}
)
"""The types of sounds whose duration workers read."""

# Types of the library that have another name here.
_RENAMED: Final = {
    "application/x-rar-compressed": "application/vnd.rar",
    "audio/x-aiff": "audio/aiff",
    "audio/x-flac": "audio/flac",
    "audio/x-wav": "audio/wav",
    # An animated PNG is a PNG. The library recognises it only if the animation is announced within the head.
    "image/apng": "image/png",
}
# Types of the library that are kept; any other becomes UNKNOWN_TYPE.
_KEPT: Final = frozenset(
    {
        *("image/bmp", "image/gif", "image/jpeg", "image/png", "image/tiff", "image/webp"),
        *("audio/aac", "audio/amr", "audio/midi", "audio/mpeg"),
        *("video/mpeg", "video/x-flv", "video/x-ms-wmv", "video/x-msvideo"),
        *("application/epub+zip", "application/pdf", "application/rtf"),
        *("application/gzip", "application/x-7z-compressed", "application/x-bzip2", "application/x-tar"),
        *("application/x-xz", "application/zip", "application/zstd"),
        *("application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"),
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.oasis.opendocument.presentation",
        "application/vnd.oasis.opendocument.spreadsheet",
        "application/vnd.oasis.opendocument.text",
    }
)

# The brands of ISO base media files, by the registry at mp4ra.org; "3gp4" to "3gp9" share a prefix.
_ISO_BRANDS: Final = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "image/heic"),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), "audio/mp4"),
    **dict.fromkeys((b"isom", b"mp41", b"mp42", b"avc1", b"dash", b"mmp4", b"MSNV", b"M4V ", b"M4VP"), "video/mp4"),
    **{b"iso%d" % version: "video/mp4" for version in range(2, 10)},
    b"qt  ": "video/quicktime",
}
_3GPP_BRANDS: Final = (b"3gp", b"3g2", b"3ge", b"3gr", b"3gs")
# The first box of a QuickTime file that was written before brands existed.
_QUICKTIME_BOXES: Final = frozenset({b"moov", b"mdat", b"wide"})

# The first two bytes of a frame of MPEG layer 3, in its versions 1, 2 and 2.5, with or without a checksum.
_MP3_FRAMES: Final = (b"\xff\xfa", b"\xff\xfb", b"\xff\xf2", b"\xff\xf3", b"\xff\xe2", b"\xff\xe3")

_EBML_MAGIC: Final = b"\x1a\x45\xdf\xa3"
# The element DocType: its id, its size in 1 to 8 bytes, its value.
_EBML_DOC_TYPE: Final = re.compile(rb"\x42\x82.{1,8}?(webm|matroska)", re.DOTALL)
_EBML_TYPES: Final = {b"webm": "video/webm", b"matroska": "video/x-matroska"}
_EBML_HEADER_BYTES: Final = 128


def detect(head: bytes) -> str:
    """Return the media type of a file by its first HEAD_BYTES bytes (all bytes, if it is shorter).

    The type says what the file claims to be: the bytes that follow may be those of something else.
    """
    head = head[:HEAD_BYTES]
    if head[4:8] == b"ftyp":
        return _detect_iso(head)
    if head[4:8] in _QUICKTIME_BOXES and head[0] == 0:
        return "video/quicktime"
    if head.startswith(_EBML_MAGIC):
        found = _EBML_DOC_TYPE.search(head[:_EBML_HEADER_BYTES])
        return _EBML_TYPES[found[1]] if found else UNKNOWN_TYPE
    if head.startswith(b"OggS"):
        return "video/ogg" if b"\x80theora" in head else "audio/ogg"
    if head.startswith(_MP3_FRAMES):
        return "audio/mpeg" if _has_mp3_rates(head) else UNKNOWN_TYPE
    return _detect_by_library(head)


def _has_mp3_rates(head: bytes) -> bool:
    """Return True if the third byte of a frame has a bit rate and a sampling rate that exist."""
    rates = head[2] if len(head) > 2 else 0xFF
    return rates >> 4 not in (0x0, 0xF) and rates >> 2 & 3 != 3


def _detect_iso(head: bytes) -> str:
    """Return the type by the major brand, else by the first compatible brand that is known."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[start : start + 4] for start in range(16, end - 3, 4))]
    for brand in brands:
        if brand in _ISO_BRANDS:
            return _ISO_BRANDS[brand]
        if brand.startswith(_3GPP_BRANDS):
            return "video/3gpp"
    return UNKNOWN_TYPE


def _detect_by_library(head: bytes) -> str:
    found: str | None = filetype.guess_mime(head)
    renamed = _RENAMED.get(found or "")
    return renamed or (found if found in _KEPT else None) or UNKNOWN_TYPE
