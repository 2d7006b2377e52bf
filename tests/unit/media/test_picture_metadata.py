"""Pictures of every format lose their private metadata, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
from PIL import Image, ImageCms, ImageOps

from tests.unit.media.pictures import (
    ORIENTATION,
    SECRETS,
    dress_gif,
    dress_jpeg,
    dress_png,
    dress_webp,
    frames_of,
    orientation_of,
    profile_of,
    real_file,
    real_picture,
    remove,
    save,
    tags_of,
    wide_gamut_profile,
)

PROFILE = wide_gamut_profile()


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture without private metadata, and the function that adds them."""

    content_type: str
    make: Callable[[], bytes]
    dress: Callable[[bytes], bytes]
    orientation: int = 1


def animation(kind: str, **options: object) -> bytes:
    base = real_picture("alien1.png").resize((64, 48))
    frames = [ImageOps.posterize(base.rotate(angle), 3) for angle in (0, 30, 60, 90)]
    return save(frames[0], kind, save_all=True, append_images=frames[1:], duration=[80, 120, 200, 90], **options)


def photo(kind: str, **options: object) -> bytes:
    return save(real_picture("camera_rgb.jpg"), kind, **options)


def transparent(kind: str, **options: object) -> bytes:
    picture = real_picture("camera_rgb.jpg").resize((120, 90))
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return save(picture, kind, **options)


def cmyk() -> bytes:
    return save(real_picture("camera_rgb.jpg").convert("CMYK"), "JPEG", quality=90, icc_profile=PROFILE)


SAMPLES = {
    "JPEG baseline": Sample("image/jpeg", partial(photo, "JPEG", quality=85), dress_jpeg),
    "JPEG progressive": Sample(
        "image/jpeg",
        partial(photo, "JPEG", progressive=True, icc_profile=PROFILE),
        partial(dress_jpeg, orientation=6),
        6,
    ),
    "JPEG with restarts": Sample("image/jpeg", partial(photo, "JPEG", restart_marker_rows=1), dress_jpeg),
    "JPEG with a profile in parts": Sample(
        "image/jpeg", partial(photo, "JPEG", icc_profile=PROFILE + bytes(150_000)), dress_jpeg
    ),
    "JPEG of ink colours": Sample("image/jpeg", cmyk, partial(dress_jpeg, orientation=3), 3),
    "JPEG of a package": Sample("image/jpeg", real_file("camera_hsv.jpg").read_bytes, dress_jpeg),
    "PNG": Sample("image/png", partial(photo, "PNG", icc_profile=PROFILE), partial(dress_png, orientation=8), 8),
    "PNG with a palette": Sample("image/png", real_file("brick.png").read_bytes, dress_png),
    "PNG with alpha": Sample("image/png", partial(transparent, "PNG"), dress_png),
    "PNG in motion": Sample("image/apng", partial(animation, "PNG", loop=3), dress_png),
    "WebP lossy": Sample("image/webp", partial(photo, "WEBP", quality=70), partial(dress_webp, orientation=5), 5),
    "WebP lossless": Sample("image/webp", partial(photo, "WEBP", lossless=True, icc_profile=PROFILE), dress_webp),
    "WebP with alpha": Sample("image/webp", partial(transparent, "WEBP", quality=60), dress_webp),
    "WebP in motion": Sample("image/webp", partial(animation, "WEBP", loop=2), partial(dress_webp, orientation=6), 6),
    "WebP of a package": Sample("image/webp", real_file("liquid.webp").read_bytes, dress_webp),
    "GIF": Sample("image/gif", real_file("alien1.gif").read_bytes, dress_gif),
    "GIF in motion": Sample("image/gif", partial(animation, "GIF", loop=5), dress_gif),
    "GIF of a package": Sample("image/gif", real_file("animated_sample.gif").read_bytes, dress_gif),
}
sample_cases = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())


@sample_cases
def test_picture_with_metadata_loses_them_and_keeps_its_pixels(sample: Sample) -> None:
    original = sample.make()
    dressed = sample.dress(original)
    assert sum(secret in dressed for secret in SECRETS) >= 4
    result = remove(sample.content_type, dressed)
    assert result is not None
    assert [secret for secret in SECRETS if secret in result] == []
    assert frames_of(result) == frames_of(original)
    assert profile_of(result) == profile_of(original)
    assert orientation_of(result) == sample.orientation
    assert tags_of(result) == ({ORIENTATION} if sample.orientation != 1 else set())


@sample_cases
def test_picture_without_metadata_is_left_as_it_is(sample: Sample) -> None:
    cleaned = remove(sample.content_type, sample.dress(sample.make()))
    assert cleaned is not None
    assert remove(sample.content_type, cleaned) is None


@pytest.mark.parametrize("name", [name for name in SAMPLES if not name.endswith("of a package")])
def test_picture_as_an_encoder_writes_it_is_left_as_it_is(name: str) -> None:
    sample = SAMPLES[name]
    assert remove(sample.content_type, sample.make()) is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("content_type", "kind", "dress"),
    [("image/jpeg", "JPEG", dress_jpeg), ("image/png", "PNG", dress_png), ("image/webp", "WEBP", dress_webp)],
)
def test_every_orientation_stays(
    content_type: str, kind: str, dress: Callable[[bytes, int], bytes], orientation: int
) -> None:
    result = remove(content_type, dress(save(real_picture("red.jpg"), kind), orientation))
    assert result is not None
    assert orientation_of(result) == orientation


def test_wide_gamut_profile_is_one_of_other_primaries() -> None:
    picture = real_picture("camera_rgb.jpg")
    wide = ImageCms.ImageCmsProfile(io.BytesIO(PROFILE))
    converted = ImageCms.profileToProfile(picture, wide, ImageCms.createProfile("sRGB"))
    assert converted is not None
    assert converted.tobytes() != picture.tobytes()
