"""The facts of a picture: its size as shown, thumbnail, preview, placeholder, and the re-encoded original."""

from __future__ import annotations

from io import BytesIO
from typing import Final

from PIL import Image

from media_service.processing.decoding import (
    DecodingLimits,
    apply_orientation,
    decode_pixels,
    open_picture,
    orientation_of,
    size_as_shown,
)
from media_service.processing.facts import (
    MAX_PREVIEW_BYTES,
    MAX_REENCODED_BYTES,
    MAX_THUMBNAIL_BYTES,
    PREVIEW_SIDE,
    THUMBNAIL_SIDE,
    MetadataNotRemovable,
    PictureFacts,
    Rendition,
)
from media_service.processing.renditions import (
    convert_to_srgb,
    encode_webp,
    fit_size,
    make_placeholder,
    make_thumbnail,
    shrink,
)

# The types whose metadata cannot be removed without decoding.
REENCODED_TYPES: Final = frozenset({"image/avif", "image/heic"})
# An effort that takes 0.7 s for 12 megapixels; the next lower speed takes a third longer for the same size.
_AVIF_OPTIONS: Final = {"quality": 80, "speed": 9, "max_threads": 1}
_JPEG_OPTIONS: Final = {"quality": 90}

# In a `colr` box: primaries and transfer function as numbers. The decoder returns the pixels and not these numbers, so
# only colours that are assumed without them survive the re-encoding.
_NCLX: Final = b"colrnclx"
_NCLX_HEAD_BYTES: Final = 64 << 10
_KNOWN_PRIMARIES: Final = frozenset({1, 2})
_KNOWN_TRANSFERS: Final = frozenset({1, 2, 6, 13})


def read_picture(content_type: str, data: bytes, limits: DecodingLimits) -> PictureFacts:
    """Return the facts of a picture of this type.

    Raise NotAPicture, TooManyPixels, MetadataNotRemovable, or any exception of the decoder if the file is damaged.
    """
    image = open_picture(content_type, data, limits)
    size, profile = image.size, image.info.get("icc_profile")
    if content_type in REENCODED_TYPES:
        _check_reencodable(image, data)
        pixels = decode_pixels(image, size)
    else:
        pixels = decode_pixels(image, fit_size(size, PREVIEW_SIDE))
    orientation = orientation_of(image)
    # The decoder of the picture is freed.
    del image
    reencoded = None
    if content_type in REENCODED_TYPES:
        pixels, orientation = apply_orientation(pixels, orientation), 1
        size = pixels.size
        reencoded = _reencode(content_type, pixels, profile)
    small = shrink(pixels, fit_size(size, PREVIEW_SIDE))
    del pixels
    shown = convert_to_srgb(apply_orientation(small, orientation), profile)
    width, height = size_as_shown(size, orientation)
    return PictureFacts(
        width=width,
        height=height,
        thumbhash=make_placeholder(shown),
        thumbnail=make_thumbnail(shown, THUMBNAIL_SIDE, MAX_THUMBNAIL_BYTES),
        preview=_make_preview(shown, size, len(data)),
        reencoded=reencoded,
    )


def _make_preview(shown: Image.Image, size: tuple[int, int], size_bytes: int) -> Rendition | None:
    """Return the preview; None if it would not have fewer pixels and fewer bytes than the picture itself."""
    if max(size) <= PREVIEW_SIDE:
        return None
    preview = encode_webp(shown, MAX_PREVIEW_BYTES)
    return preview if preview and len(preview.data) < size_bytes else None


def _check_reencodable(image: Image.Image, data: bytes) -> None:
    """Raise MetadataNotRemovable if decoding and encoding would lose frames or colours of the picture."""
    if getattr(image, "n_frames", 1) > 1 and image.format == "AVIF":
        raise MetadataNotRemovable("an animated AVIF picture would lose its animation")
    found = data.find(_NCLX, 0, _NCLX_HEAD_BYTES)
    if found < 0 or "icc_profile" in image.info:
        return
    numbers = data[found + len(_NCLX) :]
    primaries, transfer = int.from_bytes(numbers[:2], "big"), int.from_bytes(numbers[2:4], "big")
    if primaries not in _KNOWN_PRIMARIES or transfer not in _KNOWN_TRANSFERS:
        raise MetadataNotRemovable(f"colours with primaries {primaries} and transfer {transfer} would change")


def _reencode(content_type: str, pixels: Image.Image, profile: bytes | None) -> Rendition:
    """Return the picture with its pixels and colour profile alone.

    HEIC becomes JPEG, which browsers show and which takes a hundredth of the time, or AVIF if parts are transparent.
    """
    output = BytesIO()
    if content_type == "image/heic" and pixels.mode != "RGBA":
        content_type = "image/jpeg"
        pixels.save(output, "JPEG", icc_profile=profile, **_JPEG_OPTIONS)
    else:
        content_type = "image/avif"
        pixels.save(output, "AVIF", icc_profile=profile, exif=b"", xmp=b"", **_AVIF_OPTIONS)
    if output.tell() > MAX_REENCODED_BYTES:
        raise MetadataNotRemovable(f"without metadata the picture would have {output.tell()} bytes")
    return Rendition(content_type, pixels.width, pixels.height, output.getvalue())
