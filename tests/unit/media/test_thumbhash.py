"""ThumbHash: vectors of the published implementation, and what a decoder shows."""

from __future__ import annotations

from math import cos, pi

import pytest
from PIL import Image

from media_service.processing.thumbhash import MAX_SIDE, encode_thumbhash

Pixel = tuple[float, float, float, float]


def synthetic(width: int, height: int, *, alpha: bool) -> bytes:
    """Return pixels that any implementation computes alike: integers of the coordinates."""
    values = [(x, y, 3 * x * x + 5 * y * y + 7 * x * y + 11 * x) for y in range(height) for x in range(width)]
    return bytes(
        channel % 256
        for x, y, value in values
        for channel in (value, 3 * value + y, 5 * value + x, 7 * value + 40 if alpha else 255)
    )


def encode_image(image: Image.Image) -> bytes:
    rgba = image.convert("RGBA")
    return encode_thumbhash(rgba.width, rgba.height, rgba.tobytes())


class Decoder:
    """Reads a ThumbHash back into a picture of 32 pixels, as the description of the format says."""

    def __init__(self, thumbhash: bytes) -> None:
        colour = int.from_bytes(thumbhash[:3], "little")
        shape = int.from_bytes(thumbhash[3:5], "little")
        self.has_alpha = bool(colour >> 23)
        self.landscape = bool(shape >> 15)
        longer, shorter = 5 if self.has_alpha else 7, shape & 7
        self.counts = (longer, shorter) if self.landscape else (shorter, longer)
        self._nibbles = iter([n for byte in thumbhash[6 if self.has_alpha else 5 :] for n in (byte & 15, byte >> 4)])
        means = ((colour & 63) / 63, (colour >> 6 & 63) / 31.5 - 1, (colour >> 12 & 63) / 31.5 - 1)
        scales = ((colour >> 18 & 31) / 31, (shape >> 3 & 63) / 63, (shape >> 9 & 63) / 63)
        columns, rows = (max(3, each) for each in self.counts)
        self._channels = [
            self._read_channel(mean, scale, *size)
            for mean, scale, size in zip(means, scales, ((columns, rows), (3, 3), (3, 3)), strict=True)
        ]
        if self.has_alpha:
            mean, scale = (thumbhash[5] & 15) / 15, (thumbhash[5] >> 4) / 15
            self._channels.append(self._read_channel(mean, scale, 5, 5))

    def _read_channel(self, mean: float, scale: float, columns: int, rows: int) -> dict[tuple[int, int], float]:
        waves = [(x, y) for y in range(rows) for x in range(columns) if x * rows < columns * (rows - y)]
        return {wave: mean if wave == (0, 0) else (next(self._nibbles) / 7.5 - 1) * scale for wave in waves}

    def pixel(self, across: float, down: float) -> Pixel:
        """Return red, green, blue and alpha, 0 to 1, at a point from 0 to 1 in each direction."""
        values = [
            sum(
                amplitude * cos(pi * x * across) * cos(pi * y * down) * (2 if x else 1) * (2 if y else 1)
                for (x, y), amplitude in channel.items()
            )
            for channel in self._channels
        ]
        luminance, yellow_blue, red_green, *alpha = values
        blue = luminance - 2 / 3 * yellow_blue
        red = (3 * luminance - blue + red_green) / 2
        return red, red - red_green, blue, alpha[0] if alpha else 1.0


# From the implementation in JavaScript at github.com/evanw/thumbhash.
@pytest.mark.parametrize(
    ("width", "height", "alpha", "expected"),
    [
        (32, 24, False, "1ff8010d820a43904b58cc72546554c39857205fc8"),
        (24, 32, False, "20f8010500062154a69b5819446684945c60516707"),
        (100, 100, False, "1ff801070086394c668b9889b8d71655548e5f5faa0c3508"),
        (21, 30, True, "20f8810c00074230767d4740a7028af64b4c66fb7d94858d05"),
        (1, 1, False, "000802070000000000000000000000000000000000000000"),
        (90, 7, True, "20f8810982078187576620d09a6b0ac7ec5f8e6348c877"),
    ],
)
def test_pixels_have_the_hash_of_the_published_implementation(
    width: int, height: int, alpha: bool, expected: str
) -> None:
    assert encode_thumbhash(width, height, synthetic(width, height, alpha=alpha)).hex() == expected


@pytest.mark.parametrize("colour", ["red", "lime", "blue", "white", "black", "orange", "#4070a0"])
def test_single_colour_is_shown_again(colour: str) -> None:
    image = Image.new("RGB", (40, 30), colour)
    expected = [value / 255 for value in image.getpixel((0, 0))]  # type: ignore[union-attr]
    shown = Decoder(encode_image(image)).pixel(0.3, 0.6)
    assert shown == pytest.approx([*expected, 1.0], abs=0.05)


@pytest.mark.parametrize(
    ("size", "counts", "landscape"),
    [((64, 64), (7, 7), False), ((64, 32), (7, 4), True), ((32, 64), (4, 7), False), ((100, 1), (7, 1), True)],
)
def test_aspect_ratio_is_kept(size: tuple[int, int], counts: tuple[int, int], landscape: bool) -> None:
    decoder = Decoder(encode_image(Image.linear_gradient("L").resize(size)))
    assert (decoder.counts, decoder.landscape) == (counts, landscape)


def test_gradient_is_shown_from_dark_to_light() -> None:
    decoder = Decoder(encode_image(Image.linear_gradient("L").resize((48, 64))))
    shown = [decoder.pixel(0.5, down / 10)[1] for down in range(11)]
    assert shown == pytest.approx([down / 10 for down in range(11)], abs=0.2)


def test_transparent_half_is_shown_and_does_not_colour_the_other() -> None:
    image = Image.new("RGBA", (40, 40), (255, 0, 0, 255))
    image.paste((0, 0, 255, 0), (20, 0, 40, 40))
    decoder = Decoder(encode_image(image))
    assert decoder.has_alpha
    assert decoder.pixel(0.05, 0.5) == pytest.approx((1, 0, 0, 1), abs=0.15)
    assert decoder.pixel(0.95, 0.5)[3] == pytest.approx(0, abs=0.15)


def test_opaque_picture_has_no_alpha() -> None:
    assert not Decoder(encode_image(Image.new("RGB", (10, 10), "red"))).has_alpha


def test_size_is_at_most_25_bytes() -> None:
    noise = Image.effect_noise((MAX_SIDE, MAX_SIDE), 200)
    transparent = Image.merge("RGBA", (noise, noise, noise, noise))
    assert {len(encode_image(noise)), len(encode_image(transparent))} <= set(range(18, 26))


@pytest.mark.parametrize(("width", "height", "length"), [(0, 1, 0), (101, 1, 404), (2, 2, 15), (2, 2, 17)])
def test_wrong_size_is_refused(width: int, height: int, length: int) -> None:
    with pytest.raises(ValueError, match="cannot be encoded"):
        encode_thumbhash(width, height, bytes(length))
