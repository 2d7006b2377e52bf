"""The first frame of a picture as pixels, within bounds of memory that are checked before anything is decoded."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from PIL import (
    AvifImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from media_service.processing.facts import MetadataNotRemovable, NotAPicture, TooManyPixels

# The decoder of each type, and the formats as which it opens a file; MPO is a JPEG with further pictures after it.
_FORMATS: Final = {
    "image/avif": (AvifImagePlugin.AvifImageFile.format,),
    "image/gif": (GifImagePlugin.GifImageFile.format,),
    "image/heic": ("HEIF",),
    "image/jpeg": (JpegImagePlugin.JpegImageFile.format, MpoImagePlugin.MpoImageFile.format),
    "image/png": (PngImagePlugin.PngImageFile.format,),
    "image/webp": (WebPImagePlugin.WebPImageFile.format,),
}

# The memory that a worker needs besides that of the picture: the interpreter, the libraries, the renditions.
_BASE_BYTES: Final = 112 << 20
# The peak of memory in bytes for each pixel of the picture, measured, with the renditions and the re-encoding.
_BYTES_PER_PIXEL: Final = {"image/avif": 38, "image/heic": 16, "image/webp": 18}
_OPAQUE_BYTES_PER_PIXEL: Final = 5
_ALPHA_BYTES_PER_PIXEL: Final = 9

# The orientations of EXIF that are shown otherwise than stored.
_TRANSPOSITIONS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FIRST_SIDEWAYS: Final = 5


@dataclass(frozen=True, slots=True)
class DecodingLimits:
    """The most pixels of a picture, and the address space of the process in bytes, which lowers the former."""

    max_pixels: int
    memory_bytes: int


def configure_decoders() -> None:
    """Make the decoders of this process silent, and let each use one thread."""
    warnings.simplefilter("ignore")
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def open_picture(content_type: str, data: bytes, limits: DecodingLimits) -> Image.Image:
    """Return the picture of this type, of which the header is read and no pixel is decoded.

    Raise NotAPicture, TooManyPixels, or MetadataNotRemovable for HEIC without its decoder.
    """
    if content_type not in _FORMATS:
        raise NotAPicture(f"{content_type} is no type of pictures")
    if content_type == "image/heic":
        _register_heic()
    budget = limits.memory_bytes - _BASE_BYTES - 2 * len(data)
    most = max(0, min(limits.max_pixels, budget // _BYTES_PER_PIXEL.get(content_type, 1)))
    # Pillow compares sizes with twice this number before it allocates memory for them.
    Image.MAX_IMAGE_PIXELS = most // 2
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS[content_type][:1])
    except Image.DecompressionBombError:
        raise TooManyPixels(f"more than {most} pixels") from None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  Pillow raises many exceptions for a damaged header
        raise NotAPicture(f"not decodable as {content_type}") from None
    if image.format not in _FORMATS[content_type]:
        raise NotAPicture(f"{image.format} instead of {content_type}")
    most = min(most, int(budget / _bytes_per_pixel(content_type, image)))
    if image.width * image.height > most:
        raise TooManyPixels(f"{image.width} x {image.height} pixels; the most for such a picture is {most}")
    return image


def _register_heic() -> None:
    try:
        import pillow_heif
    except ImportError:
        raise MetadataNotRemovable(
            "HEIC pictures need the package pillow-heif, the extra `heic` of Parley, on the server"
        ) from None
    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)


def _bytes_per_pixel(content_type: str, image: Image.Image) -> float:
    if content_type == "image/jpeg":
        # A progressive picture is held as coefficients of 2 bytes; another one is decoded at a fraction of its size.
        return 2 * len(image.getbands()) + 1 if image.info.get("progressive") else 1
    alpha = image.has_transparency_data or image.mode == "P"
    return _BYTES_PER_PIXEL.get(content_type, _ALPHA_BYTES_PER_PIXEL if alpha else _OPAQUE_BYTES_PER_PIXEL)


def decode_pixels(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the first frame with 8 bits a channel, as stored, in mode L, RGB, RGBA or CMYK.

    A decoder that can do so returns a smaller picture, which has at least `size`. Raise OSError, or another exception
    of the decoder, if the file is damaged.
    """
    image.draft(image.mode, size)
    image.load()
    if image.mode.startswith("I"):
        # One channel of 16 bits, of which `convert` alone would keep the lower 8.
        return image.point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def orientation_of(image: Image.Image) -> int:
    """Return the orientation that the EXIF block of a decoded picture asks for, 1 to 8; 1 if it has none.

    The orientation in XMP is ignored, as browsers do.
    """
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        orientation = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001  Pillow raises many exceptions for a damaged block
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """Return the picture as shown."""
    transposition = _TRANSPOSITIONS.get(orientation)
    return image if transposition is None else image.transpose(transposition)


def size_as_shown(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return width and height after the rotation that the orientation asks for."""
    return size if orientation < _FIRST_SIDEWAYS else (size[1], size[0])
