"""Files for tests of media: real pictures and sounds of a package, and pictures that are made for a purpose."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageCms

PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"


def sample_folder() -> Path:
    """Return the folder of the package pygame-ce, which holds real pictures and sounds. The package is not imported."""
    spec = importlib.util.find_spec("pygame")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def read_sample(name: str) -> bytes:
    """Return the bytes of a sample, such as `alien1.jpg`."""
    return (sample_folder() / "examples/data" / name).read_bytes()


def sample_pictures() -> list[Path]:
    """Return the real pictures that are at least 32 pixels wide."""
    folders = (sample_folder() / "examples/data", sample_folder() / "docs/generated/_images")
    paths = [path for folder in folders for path in sorted(folder.iterdir())]
    return [path for path in paths if path.suffix in {".gif", ".jpg", ".png", ".webp"} and path.stat().st_size > 2_000]


def encode(image: Image.Image, format_name: str, **options: Any) -> bytes:
    output = BytesIO()
    image.save(output, format_name, **options)
    return output.getvalue()


def gradient(width: int, height: int) -> Image.Image:
    """Return an RGB picture: red grows to the right, green grows downwards, blue is 96."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (across, down, Image.new("L", (width, height), 96)))


def corners() -> Image.Image:
    """Return a picture of 120 × 80 pixels whose quarters are red, green, blue and white, from the upper left."""
    image = Image.new("RGB", (120, 80))
    for box, colour in (
        ((0, 0, 60, 40), "red"),
        ((60, 0, 120, 40), "lime"),
        ((0, 40, 60, 80), "blue"),
        ((60, 40, 120, 80), "white"),
    ):
        image.paste(colour, box)
    return image


def orientation_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, *, bits: int = 8, colour: int = 2) -> bytes:
    return PNG_MAGIC + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))


def png_with_header_only(width: int, height: int) -> bytes:
    """Return a PNG of this announced size, with next to no pixels."""
    pixels = zlib.compress(bytes(1000))
    return png_header(width, height) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def deflate_bomb(width: int, height: int) -> bytes:
    """Return a complete black PNG of 1 bit a pixel, a thousandth of the size of its pixels."""
    compressor = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    pixels = b"".join([*(compressor.compress(row) for _ in range(height)), compressor.flush()])
    header = png_header(width, height, bits=1, colour=0)
    return header + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def profile_bomb() -> bytes:
    """Return a small PNG whose colour profile decompresses to 256 MiB."""
    profile = b"bomb\0\0" + zlib.compress(bytes(256 << 20), 9)
    pixels = zlib.compress(bytes(4 * 4 * 3 + 4))
    chunks = png_chunk(b"iCCP", profile) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    return png_header(4, 4) + chunks


@cache
def wide_gamut_profile() -> bytes:
    """Return a colour profile with the primaries of sRGB in another order: red pixels are shown as green.

    It holds the time at which it was made, and so is made once.
    """
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    tags = {bytes(profile[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(count)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = (
        profile[green + 4 : green + 12],
        profile[red + 4 : red + 12],
    )
    return bytes(profile).replace(b"s\0R\0G\0B", b"t\0e\0s\0t").replace(b"\0s\0R\0G\0B", b"\0t\0e\0s\0t")
