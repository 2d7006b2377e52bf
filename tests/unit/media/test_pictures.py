"""The facts of pictures, decoded in this process: size, orientation, colours, renditions, re-encoding."""

from __future__ import annotations

import importlib.util
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageCms, ImageOps

from media_service.processing.decoding import DecodingLimits
from media_service.processing.detection import PICTURE_TYPES, detect
from media_service.processing.facts import (
    MAX_PREVIEW_BYTES,
    MAX_THUMBNAIL_BYTES,
    MetadataNotRemovable,
    NotAPicture,
    PictureFacts,
    Rendition,
    TooManyPixels,
)
from media_service.processing.pictures import read_picture
from tests.media_files import (
    corners,
    deflate_bomb,
    encode,
    gradient,
    orientation_exif,
    png_with_header_only,
    read_sample,
    sample_pictures,
    wide_gamut_profile,
)

LIMITS = DecodingLimits(max_pixels=120_000_000, memory_bytes=1 << 30)
Colour = tuple[int, ...]


def read(data: bytes, limits: DecodingLimits = LIMITS) -> PictureFacts:
    return read_picture(detect(data), data, limits)


def shown(rendition: Rendition | None) -> Image.Image:
    assert rendition is not None
    image = Image.open(BytesIO(rendition.data))
    assert image.format == "WEBP"
    assert (rendition.content_type, rendition.width, rendition.height) == ("image/webp", *image.size)
    assert not image.info.get("icc_profile")
    return image


def colour_at(image: Image.Image, across: float, down: float) -> Colour:
    colour = image.getpixel((int(image.width * across), int(image.height * down)))
    assert isinstance(colour, tuple)
    return colour


def assert_close(colour: Colour, expected: Colour, *, within: int = 12) -> None:
    assert len(colour) == len(expected)
    assert max(abs(a - b) for a, b in zip(colour, expected, strict=True)) <= within, (colour, expected)


@pytest.mark.parametrize("path", sample_pictures(), ids=lambda path: path.name)
def test_real_picture_has_size_thumbnail_and_placeholder(path: Path) -> None:
    data = path.read_bytes()
    facts = read(data)
    with Image.open(path) as image:
        assert (facts.width, facts.height) == image.size
    thumbnail = shown(facts.thumbnail)
    assert max(thumbnail.size) == min(320, max(facts.width, facts.height))
    assert len(facts.thumbhash) <= 25
    assert facts.reencoded is None


def test_large_picture_has_a_preview() -> None:
    data = encode(gradient(3000, 1500), "JPEG", quality=95)
    facts = read(data)
    assert (facts.width, facts.height) == (3000, 1500)
    assert shown(facts.preview).size == (1280, 640)
    assert shown(facts.thumbnail).size == (320, 160)
    assert_close(colour_at(shown(facts.preview), 0.99, 0.5), colour_at(gradient(3000, 1500), 0.99, 0.5))


def test_picture_that_is_not_larger_than_a_preview_has_none() -> None:
    assert read(encode(gradient(1280, 1280), "JPEG")).preview is None


def test_preview_that_is_larger_than_the_picture_is_left_out() -> None:
    assert read(encode(Image.new("1", (1400, 1400)), "PNG")).preview is None


def test_noise_keeps_the_bounds_of_bytes() -> None:
    plane = Image.effect_noise((2000, 2000), 255)
    channels = (plane, plane.rotate(90), plane.rotate(180), plane.rotate(270))
    facts = read(encode(Image.merge("RGBA", channels), "PNG", compress_level=1))
    assert facts.thumbnail is not None
    assert len(facts.thumbnail.data) <= MAX_THUMBNAIL_BYTES
    assert facts.preview is None or len(facts.preview.data) <= MAX_PREVIEW_BYTES


def test_extreme_shape_has_a_thumbnail() -> None:
    facts = read(encode(Image.new("RGB", (20_000, 3), "red"), "PNG"))
    assert (facts.width, facts.height) == (20_000, 3)
    assert shown(facts.thumbnail).size == (320, 1)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_thumbnail_is_turned_as_shown(orientation: int, format_name: str) -> None:
    data = encode(corners(), format_name, exif=orientation_exif(orientation))
    with Image.open(BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    facts = read(data)
    assert (facts.width, facts.height) == expected.size
    thumbnail = shown(facts.thumbnail)
    assert thumbnail.size == expected.size
    for across, down in ((0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)):
        assert_close(colour_at(thumbnail, across, down), colour_at(expected, across, down))


def test_eight_orientations_differ() -> None:
    thumbnails = [shown(read(encode(corners(), "PNG", exif=orientation_exif(n))).thumbnail) for n in range(1, 9)]
    layouts = {tuple(colour_at(each, x, y) for x in (0.2, 0.8) for y in (0.2, 0.8)) for each in thumbnails}
    assert len(layouts) == 8


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_ignored() -> None:
    facts = read(encode(corners(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    assert (facts.width, facts.height) == (120, 80)


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "GIF"])
def test_transparent_parts_stay_transparent(format_name: str) -> None:
    image = Image.new("RGBA", (400, 400), (0, 160, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 200, 400))
    thumbnail = shown(read(encode(image, format_name)).thumbnail)
    assert thumbnail.mode == "RGBA"
    assert colour_at(thumbnail, 0.1, 0.5)[3] == 0
    assert_close(colour_at(thumbnail, 0.9, 0.5), (0, 160, 0, 255))


def test_transparent_colour_does_not_bleed_into_the_opaque_part() -> None:
    image = Image.new("RGBA", (640, 640), (0, 200, 0, 255))
    for start in range(0, 640, 4):
        image.paste((255, 0, 0, 0), (start, 0, start + 2, 640))
    red, green, _, alpha = colour_at(shown(read(encode(image, "PNG")).thumbnail), 0.5, 0.5)
    assert (red < 20, green > 180, 0 < alpha < 255) == (True, True, True)


def test_palette_is_shown_in_its_colours() -> None:
    image = corners().convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    assert_close(colour_at(shown(read(encode(image, "PNG")).thumbnail), 0.2, 0.8), (0, 0, 255))


def test_palette_with_a_transparent_colour_is_shown_with_it() -> None:
    image = corners().convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    transparent = image.getpixel((110, 70))
    thumbnail = shown(read(encode(image, "PNG", transparency=transparent)).thumbnail)
    assert colour_at(thumbnail, 0.8, 0.8)[3] == 0
    assert_close(colour_at(thumbnail, 0.2, 0.2), (255, 0, 0, 255))


def test_cmyk_is_shown_in_rgb() -> None:
    assert_close(
        colour_at(shown(read(encode(Image.new("CMYK", (50, 50), (0, 255, 255, 0)), "JPEG")).thumbnail), 0.5, 0.5),
        (255, 0, 0),
    )


def test_16_bits_a_channel_keep_their_brightness() -> None:
    image = Image.new("I;16", (60, 60), 40_000)
    assert_close(colour_at(shown(read(encode(image, "PNG")).thumbnail), 0.5, 0.5), (156, 156, 156))


def test_grey_with_alpha_is_shown() -> None:
    image = Image.new("LA", (60, 60), (90, 128))
    assert_close(colour_at(shown(read(encode(image, "PNG")).thumbnail), 0.5, 0.5), (90, 90, 90, 128))


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
def test_colours_of_a_profile_are_converted(format_name: str) -> None:
    profile = wide_gamut_profile()
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    image = Image.new("RGB", (60, 60), (220, 40, 40))
    expected = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
    assert expected is not None
    assert colour_at(expected, 0, 0)[1] > 180
    data = encode(image, format_name, icc_profile=profile)
    assert_close(colour_at(shown(read(data).thumbnail), 0.5, 0.5), colour_at(expected, 0, 0))


@pytest.mark.parametrize("profile", [b"no profile", wide_gamut_profile()[:200]])
def test_unreadable_profile_is_ignored(profile: bytes) -> None:
    data = encode(Image.new("RGB", (60, 60), (220, 40, 40)), "JPEG", icc_profile=profile)
    assert_close(colour_at(shown(read(data).thumbnail), 0.5, 0.5), (220, 40, 40))


def test_profile_of_another_colour_space_is_ignored() -> None:
    data = encode(Image.new("L", (60, 60), 90), "JPEG", icc_profile=wide_gamut_profile())
    assert_close(colour_at(shown(read(data).thumbnail), 0.5, 0.5), (90, 90, 90))


def test_first_frame_of_an_animation_is_shown() -> None:
    frames = [Image.new("P", (64, 64), n) for n in range(200)]
    for frame in frames:
        frame.putpalette([value for n in range(256) for value in (n, 255 - n, 0)])
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert_close(colour_at(shown(read(data).thumbnail), 0.5, 0.5)[:3], (0, 255, 0))


def test_jpeg_with_further_pictures_behind_it_shows_the_first() -> None:
    data = encode(gradient(3000, 2000), "MPO", save_all=True, append_images=[corners()])
    assert detect(data) == "image/jpeg"
    facts = read(data)
    assert (facts.width, facts.height) == (3000, 2000)
    assert shown(facts.preview).size == (1280, 853)


def test_gif_with_a_huge_screen_is_refused() -> None:
    data = encode(corners().convert("L"), "GIF")
    with pytest.raises(TooManyPixels):
        read(data[:6] + b"\xff\xff\xff\xff" + data[10:])


def test_webp_that_is_larger_than_the_memory_is_refused() -> None:
    data = bytearray(encode(Image.new("RGBA", (64, 64), (1, 2, 3, 4)), "WEBP", exif=orientation_exif(1)))
    assert data[12:16] == b"VP8X"
    data[24:30] = (16_382).to_bytes(3, "little") * 2
    with pytest.raises(TooManyPixels):
        read(bytes(data))


@pytest.mark.parametrize("picture", [png_with_header_only(30_000, 30_000), deflate_bomb(30_000, 30_000)])
def test_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[object] = []
    monkeypatch.setattr(Image.Image, "load", lambda self: decoded.append(self))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: decoded.append(self))
    with pytest.raises(TooManyPixels, match="120000000"):
        read(picture)
    assert decoded == []


def test_picture_that_needs_more_memory_than_there_is_is_refused() -> None:
    small = DecodingLimits(max_pixels=120_000_000, memory_bytes=128 << 20)
    data = encode(Image.new("RGBA", (2000, 2000)), "PNG")
    assert read(data).width == 2000
    with pytest.raises(TooManyPixels, match="2000 x 2000"):
        read(data, small)
    # A baseline JPEG is decoded at a fraction of its size.
    assert read(encode(Image.new("RGB", (2000, 2000)), "JPEG"), small).width == 2000


@pytest.mark.parametrize("format_name", ["GIF", "JPEG", "PNG", "WEBP"])
def test_truncated_picture_is_refused(format_name: str) -> None:
    data = encode(gradient(600, 400), format_name)
    for length in (12, 100, len(data) // 2):
        with pytest.raises(Exception, match=r".") as failure:
            read_picture(f"image/{format_name.lower()}", data[:length], LIMITS)
        assert not isinstance(failure.value, AssertionError | TooManyPixels | MetadataNotRemovable)


@pytest.mark.parametrize("claimed", sorted(PICTURE_TYPES - {"image/heic"}))
def test_picture_of_another_type_than_claimed_is_refused(claimed: str) -> None:
    data = encode(gradient(20, 20), "GIF" if claimed != "image/gif" else "PNG")
    with pytest.raises(NotAPicture):
        read_picture(claimed, data, LIMITS)


@pytest.mark.parametrize("magic", [b"GIF89a", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 "])
def test_html_behind_the_magic_of_a_picture_is_refused(magic: bytes) -> None:
    data = magic + b"<html><script>alert(1)</script></html>" * 10
    with pytest.raises(NotAPicture):
        read(data)


def test_picture_with_a_zip_behind_it_has_the_facts_of_the_picture() -> None:
    assert read(encode(corners(), "GIF") + b"PK\x03\x04" + bytes(1000)).width == 120


@pytest.mark.parametrize("content_type", ["image/svg+xml", "image/tiff", "text/html", "application/octet-stream"])
def test_type_without_a_decoder_is_refused(content_type: str) -> None:
    with pytest.raises(NotAPicture, match="no type of pictures"):
        read_picture(content_type, read_sample("peppers3.tif"), LIMITS)


@pytest.mark.parametrize("orientation", [1, 6])
def test_avif_is_encoded_again_without_metadata_and_as_shown(orientation: int) -> None:
    profile, exif = wide_gamut_profile(), orientation_exif(orientation)
    exif[0x010F] = "SECRET-CAMERA"
    image = gradient(300, 200)
    data = encode(image, "AVIF", exif=exif, icc_profile=profile, xmp=b"<x:xmpmeta>SECRET-PLACE</x:xmpmeta>", quality=95)
    facts = read(data)
    assert facts.reencoded is not None
    assert facts.reencoded.content_type == "image/avif"
    assert b"SECRET" in data
    assert b"SECRET" not in facts.reencoded.data
    result = Image.open(BytesIO(facts.reencoded.data))
    expected = image if orientation == 1 else image.transpose(Image.Transpose.ROTATE_270)
    assert result.size == expected.size == (facts.width, facts.height)
    assert result.info["icc_profile"] == profile
    assert result.getexif().get(0x0112, 1) == 1
    assert not {"exif", "xmp"} & set(result.info)
    for across, down in ((0.1, 0.1), (0.9, 0.1), (0.5, 0.9)):
        assert_close(colour_at(result, across, down), colour_at(expected, across, down))


def test_avif_keeps_its_transparent_parts() -> None:
    image = Image.new("RGBA", (100, 100), (0, 160, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 50, 100))
    facts = read(encode(image, "AVIF"))
    assert facts.reencoded is not None
    result = Image.open(BytesIO(facts.reencoded.data))
    assert result.mode == "RGBA"
    assert colour_at(result, 0.2, 0.5)[3] < 10


def test_animated_avif_is_refused() -> None:
    data = encode(corners(), "AVIF", save_all=True, append_images=[corners().rotate(180)])
    with pytest.raises(MetadataNotRemovable, match="animated"):
        read(data)


def test_avif_in_colours_of_numbers_is_refused() -> None:
    data = encode(corners(), "AVIF")
    position = data.index(b"colrnclx") + 8
    wide = data[:position] + (9).to_bytes(2, "big") + (16).to_bytes(2, "big") + data[position + 4 :]
    with pytest.raises(MetadataNotRemovable, match="primaries 9 and transfer 16"):
        read(wide)


def test_heic_without_its_decoder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MetadataNotRemovable, match="pillow-heif"):
        read_picture("image/heic", b"\0\0\0\x18ftypheic" + bytes(100), LIMITS)


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is None, reason="the extra `heic` is not installed")
def test_heic_becomes_a_jpeg_without_metadata() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    exif = orientation_exif(6)
    exif[0x010F] = "SECRET-CAMERA"
    image = gradient(300, 200)
    data = encode(image, "HEIF", exif=exif.tobytes(), icc_profile=wide_gamut_profile(), quality=90)
    facts = read(data)
    assert (facts.width, facts.height) == (200, 300)
    assert facts.reencoded is not None
    assert facts.reencoded.content_type == "image/jpeg"
    assert b"SECRET" in data
    assert b"SECRET" not in facts.reencoded.data
    result = Image.open(BytesIO(facts.reencoded.data))
    assert result.info["icc_profile"] == wide_gamut_profile()
    expected = image.transpose(Image.Transpose.ROTATE_270)
    assert_close(colour_at(result, 0.9, 0.1), colour_at(expected, 0.9, 0.1))
