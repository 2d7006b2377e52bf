"""Pictures with private metadata, built from real ones, and what must not be left of them."""

from __future__ import annotations

import importlib.util
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageCms

from media_service.processing.byte_ranges import ByteRange, Segment
from media_service.processing.metadata import plan_removal
from tests.unit.media.parsing import parse_bytes

SECRETS = (
    b"GPS-SECRET",
    b"SERIAL-SECRET",
    b"MAKER-SECRET",
    b"THUMBNAIL-SECRET",
    b"XMP-SECRET",
    b"IPTC-SECRET",
    b"COMMENT-SECRET",
    b"TRAILER-SECRET",
    b"2026:06:01 12:00:00",
    b"ns.adobe.com",
    b"Photoshop 3.0",
    b"MPF\0",
)
"""Parts of the private metadata in the sample files."""

ORIENTATION = 0x0112
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/' about='http://ns.adobe.com/xap/1.0/'>XMP-SECRET</x:xmpmeta>"


def remove(content_type: str, data: bytes) -> bytes | None:
    """Return the file without its private metadata; None if there is nothing to remove."""
    segments = parse_bytes(plan_removal(content_type, len(data)), data)
    return None if segments is None else join(segments, data)


def join(segments: list[Segment], data: bytes) -> bytes:
    return b"".join(
        data[part.offset : part.offset + part.length] if isinstance(part, ByteRange) else part for part in segments
    )


def real_picture(name: str) -> Image.Image:
    """Return a picture of the package pygame-ce, in RGB."""
    return Image.open(real_file(name)).convert("RGB")


def real_file(name: str) -> Path:
    (path,) = real_folder().rglob(name)
    return path


def real_folder() -> Path:
    spec = importlib.util.find_spec("pygame")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it is shown, how long, and how often the animation repeats."""

    pixels: bytes
    mode: str
    duration: float | None
    loop: int | None


def frames_of(data: bytes) -> list[Frame]:
    with Image.open(io.BytesIO(data)) as picture:
        frames = []
        for index in range(getattr(picture, "n_frames", 1)):
            picture.seek(index)
            picture.load()
            info = picture.info
            frames.append(Frame(picture.tobytes(), picture.mode, info.get("duration"), info.get("loop")))
        return frames


def profile_of(data: bytes) -> bytes | None:
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        profile: bytes | None = picture.info.get("icc_profile")
        return profile


def orientation_of(data: bytes) -> int:
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return int(picture.getexif().get(ORIENTATION, 1))


def tags_of(data: bytes) -> set[int]:
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return set(picture.getexif())


def wide_gamut_profile() -> bytes:
    """Return a profile with the primaries of Display P3, made from the profile of sRGB."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    (count,) = struct.unpack_from(">I", profile, 128)
    for index in range(count):
        tag, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if tag in primaries:
            struct.pack_into(">3i", profile, offset + 8, *(round(number * 65536) for number in primaries[tag]))
    return bytes(profile)


def private_exif(orientation: int = 1, order: str = "<") -> bytes:
    """Return a TIFF structure with GPS, serial numbers, maker note and a thumbnail."""
    gps = [(0x001B, 7, b"GPS-SECRET"), (0x0001, 2, b"N\0"), (0x0002, 5, struct.pack(order + "6I", 52, 1, 31, 1, 7, 1))]
    exif = [(0xA431, 2, b"SERIAL-SECRET\0"), (0x927C, 7, b"MAKER-SECRET" * 20), (0x9286, 7, b"COMMENT-SECRET")]
    thumbnail = [(0x0201, 4, struct.pack(order + "I", 8)), (0x02BC, 1, b"THUMBNAIL-SECRET" * 30)]
    main = [
        (0x010F, 2, b"MAKER-SECRET\0"),
        (ORIENTATION, 3, struct.pack(order + "H", orientation)),
        (0x0132, 2, b"2026:06:01 12:00:00\0"),
        (0x02BC, 1, XMP),
    ]
    return _encode_directories(order, main, {0x8769: exif, 0x8825: gps}, thumbnail)


Entries = list[tuple[int, int, bytes]]


def _encode_directories(order: str, main: Entries, children: dict[int, Entries], thumbnail: Entries) -> bytes:
    header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    pointers = [(tag, 4, b"\0\0\0\0") for tag in children]
    first_end = 8 + len(_encode_directory(order, main + pointers, 8, 0))
    encoded: dict[int, bytes] = {}
    offsets: dict[int, int] = {}
    for tag, entries in children.items():
        offsets[tag] = first_end
        encoded[tag] = _encode_directory(order, entries, first_end, 0)
        first_end += len(encoded[tag])
    pointers = [(tag, 4, struct.pack(order + "I", offsets[tag])) for tag in children]
    first = _encode_directory(order, main + pointers, 8, first_end)
    return header + first + b"".join(encoded.values()) + _encode_directory(order, thumbnail, first_end, 0)


def _encode_directory(order: str, entries: Entries, start: int, next_directory: int) -> bytes:
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}
    table, values = b"", b""
    values_start = start + 2 + 12 * len(entries) + 4
    for tag, kind, value in sorted(entries):
        field = value.ljust(4, b"\0")
        if len(value) > 4:
            field = struct.pack(order + "I", values_start + len(values))
            values += value + b"\0" * (len(value) % 2)
        table += struct.pack(order + "HHI", tag, kind, len(value) // sizes[kind]) + field
    return struct.pack(order + "H", len(entries)) + table + struct.pack(order + "I", next_directory) + values


def jpeg_segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def private_jpeg_segments(orientation: int) -> bytes:
    """Return EXIF, XMP with its extension, IPTC, MPF, maker data and comments."""
    return (
        jpeg_segment(0xE1, b"Exif\0\0" + private_exif(orientation))
        + jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
        + jpeg_segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + XMP)
        + jpeg_segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\x0bIPTC-SECRET\0")
        + jpeg_segment(0xE2, b"MPF\0MM\0*" + bytes(20))
        + jpeg_segment(0xE0, b"JFXX\0\x10" + b"THUMBNAIL-SECRET")
        + jpeg_segment(0xE5, b"SERIAL-SECRET")
        + jpeg_segment(0xFE, b"COMMENT-SECRET")
    )


def dress_jpeg(data: bytes, orientation: int = 1) -> bytes:
    """Return a JPEG file with private metadata before, between and after its scans."""
    dressed = data[:2] + private_jpeg_segments(orientation) + data[2:]
    last_scan = dressed.rindex(b"\xff\xda")
    dressed = dressed[:last_scan] + jpeg_segment(0xFE, b"COMMENT-SECRET") + dressed[last_scan:]
    secondary = b"\xff\xd8" + private_jpeg_segments(1) + data[2:]
    return dressed + secondary + b"TRAILER-SECRET"


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def dress_png(data: bytes, orientation: int = 1) -> bytes:
    """Return a PNG file with private metadata before and after its pixels, and after its end."""
    before = (
        png_chunk(b"eXIf", private_exif(orientation, ">"))
        + png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
        + png_chunk(b"tEXt", b"Comment\0COMMENT-SECRET")
        + png_chunk(b"zTXt", b"Serial\0\0" + zlib.compress(b"SERIAL-SECRET"))
    )
    after = png_chunk(b"tIME", bytes([7, 234, 6, 1, 12, 0, 0])) + png_chunk(b"maKr", b"MAKER-SECRET")
    header_end, end = 8 + 25, data.rindex(b"IEND") - 4
    return data[:header_end] + before + data[header_end:end] + after + data[end:] + b"TRAILER-SECRET"


def riff_chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def dress_webp(data: bytes, orientation: int = 1) -> bytes:
    """Return a WebP file of the extended format with private metadata, and bytes after its end."""
    header, body = data[12:30], data[30:]
    if header[:4] != b"VP8X":
        with Image.open(io.BytesIO(data)) as picture:
            size = struct.pack("<I", picture.width - 1)[:3] + struct.pack("<I", picture.height - 1)[:3]
            alpha = 0x10 if picture.mode == "RGBA" else 0
        header, body = riff_chunk(b"VP8X", bytes([alpha, 0, 0, 0]) + size), data[12:]
    header = header[:8] + bytes([header[8] | 0x08 | 0x04]) + header[9:]
    body += (
        riff_chunk(b"EXIF", private_exif(orientation))
        + riff_chunk(b"XMP ", XMP)
        + riff_chunk(b"MAKR", b"MAKER-SECRET SERIAL-SECRET.")
    )
    return b"RIFF" + struct.pack("<I", 4 + len(header) + len(body)) + b"WEBP" + header + body + b"TRAILER-SECRET"


def gif_blocks(data: bytes) -> bytes:
    blocks = [data[start : start + 255] for start in range(0, len(data), 255)]
    return b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def dress_gif(data: bytes) -> bytes:
    """Return a GIF file with comments, XMP, plain text, data of makers, and bytes after its end."""
    private = (
        b"\x21\xfe"
        + gif_blocks(b"COMMENT-SECRET " * 40)
        + b"\x21\xff\x0bXMP DataXMP"
        + gif_blocks(XMP)
        + b"\x21\xff\x0bMAKERSS1.0\0"
        + gif_blocks(b"MAKER-SECRET")
        + b"\x21\x01\x0c"
        + bytes(12)
        + gif_blocks(b"SERIAL-SECRET")
    )
    table = 3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0
    start = 13 + table
    return data[:start] + private + data[start:-1] + private + data[-1:] + b"TRAILER-SECRET"


def save(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()
