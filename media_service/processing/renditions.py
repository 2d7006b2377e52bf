"""Smaller pictures of a picture: thumbnail, preview and placeholder, in sRGB."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Final

from PIL import Image, ImageCms

from media_service.processing.facts import Rendition
from media_service.processing.thumbhash import encode_thumbhash

PLACEHOLDER_SIDE: Final = 64
# From the second on: for a picture, such as noise, that would exceed its bound in bytes.
_QUALITIES: Final = (75, 50, 25)
# An effort of 2 costs 25 ms for 1,280 pixels and saves a fifth of the bytes of effort 0; 3 costs three times as much.
_WEBP_EFFORT: Final = 2
_REDUCING_GAP: Final = 2.0
# It takes two thirds of the time of the bicubic filter, from which its pictures differ by 1 or 2 of 255.
_FILTER: Final = Image.Resampling.HAMMING
_SRGB: Final = ImageCms.createProfile("sRGB")


def fit_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the size of a picture that is shrunk to at most `side` pixels; a smaller one keeps its size."""
    longer = max(size)
    if longer <= side:
        return size
    width, height = (max(1, round(each * side / longer)) for each in size)
    return width, height


def shrink(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the picture in this size, which is not larger. Transparent pixels do not colour opaque ones."""
    if image.size == size:
        return image
    if image.mode != "RGBA":
        return image.resize(size, _FILTER, reducing_gap=_REDUCING_GAP)
    premultiplied = image.convert("RGBa")
    return premultiplied.resize(size, _FILTER, reducing_gap=_REDUCING_GAP).convert("RGBA")


def convert_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return the picture in mode RGB or RGBA and in sRGB.

    Without a profile, or with one that does not fit the picture, the pixels are taken for sRGB.
    """
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode=mode)
                return converted or image.convert(mode)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass
    return image if image.mode == mode else image.convert(mode)


def encode_webp(image: Image.Image, max_bytes: int) -> Rendition | None:
    """Return the picture as WebP without metadata; None if no quality keeps it within `max_bytes`."""
    for data in _encode_qualities(image):
        if len(data) <= max_bytes:
            return Rendition("image/webp", image.width, image.height, data)
    return None


def _encode_qualities(image: Image.Image) -> Iterable[bytes]:
    for quality in _QUALITIES:
        output = BytesIO()
        image.save(output, "WEBP", quality=quality, alpha_quality=quality, method=_WEBP_EFFORT, icc_profile=None)
        yield output.getvalue()


def make_thumbnail(image: Image.Image, side: int, max_bytes: int) -> Rendition:
    """Return the picture with at most `side` pixels and `max_bytes`, with fewer pixels if the bytes demand it."""
    thumbnail = None
    while thumbnail is None:
        thumbnail = encode_webp(shrink(image, fit_size(image.size, side)), max_bytes)
        side //= 2
    return thumbnail


def make_placeholder(image: Image.Image) -> bytes:
    """Return the ThumbHash of a picture in mode RGB or RGBA."""
    small = shrink(image, fit_size(image.size, PLACEHOLDER_SIDE)).convert("RGBA")
    return encode_thumbhash(small.width, small.height, small.tobytes())
