"""The placeholder of a picture in about 25 bytes: ThumbHash, as described at https://evanw.github.io/thumbhash/.

The picture is transformed into luminance L, two colour differences P and Q, and alpha A. Each channel is stored as the
lowest frequencies of its cosine transform: the mean (DC), then the others (AC) in 4 bits each, scaled by their maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import cos, floor, pi
from operator import mul
from typing import Final

MAX_SIDE: Final = 100
"""The longest side of a picture to encode, in pixels; a larger one has no more to give to the lowest frequencies."""

_Channel = Sequence[float]


@dataclass(frozen=True, slots=True)
class _Frequencies:
    """The transform of a channel: its mean, the largest AC amplitude, and the AC amplitudes as 4-bit values."""

    mean: float
    scale: float
    steps: list[int]


def encode_thumbhash(width: int, height: int, pixels: bytes) -> bytes:
    """Return the ThumbHash of a picture: `pixels` are rows of RGBA, 8 bits each, alpha not premultiplied.

    Raise ValueError if a side is not 1 to MAX_SIDE pixels, or if `pixels` has another length.
    """
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and len(pixels) == 4 * width * height):
        raise ValueError(f"{width} x {height} pixels in {len(pixels)} bytes cannot be encoded")
    has_alpha = min(pixels[3::4]) < 255
    luminance, yellow_blue, red_green = _split_colour(pixels, has_alpha)
    columns, rows = (_count_frequencies(side, max(width, height), has_alpha) for side in (width, height))
    size = (width, height)
    transforms = [
        _transform(luminance, size, max(3, columns), max(3, rows)),
        _transform(yellow_blue, size, 3, 3),
        _transform(red_green, size, 3, 3),
    ]
    if has_alpha:
        transforms.append(_transform([value / 255 for value in pixels[3::4]], size, 5, 5))
    landscape = width > height
    header = _pack_header(transforms, rows if landscape else columns, landscape)
    return header + _pack_steps(list(chain.from_iterable(each.steps for each in transforms)))


def _count_frequencies(side: int, longer_side: int, has_alpha: bool) -> int:
    """Return the number of luminance frequencies along a side: at most 7, or 5 where alpha needs a part of the bits."""
    return max(1, _round((5 if has_alpha else 7) * side / longer_side))


def _split_colour(pixels: bytes, has_alpha: bool) -> tuple[_Channel, _Channel, _Channel]:
    """Return L in 0 to 1, and P and Q in -1 to 1; transparent pixels have the mean colour of the opaque ones."""
    planes: list[_Channel] = [[value / 255 for value in pixels[offset::4]] for offset in range(3)]
    if has_alpha:
        alpha = [value / 255 for value in pixels[3::4]]
        planes = [_composite(plane, alpha) for plane in planes]
    red, green, blue = planes
    luminance = [(r + g + b) / 3 for r, g, b in zip(red, green, blue, strict=True)]
    yellow_blue = [(r + g) / 2 - b for r, g, b in zip(red, green, blue, strict=True)]
    return luminance, yellow_blue, [r - g for r, g in zip(red, green, strict=True)]


def _composite(plane: _Channel, alpha: _Channel) -> _Channel:
    """Return a colour plane over its own mean, which is weighted by alpha."""
    opaque = sum(alpha)
    mean = sum(map(mul, plane, alpha)) / opaque if opaque else 0.0
    return [mean * (1 - a) + value * a for value, a in zip(plane, alpha, strict=True)]


def _transform(channel: _Channel, size: tuple[int, int], columns: int, rows: int) -> _Frequencies:
    """Return the frequencies below the diagonal of `columns` × `rows`, along rows first and then along columns."""
    width, height = size
    horizontal, vertical = _cosines(columns, width), _cosines(rows, height)
    lines = [channel[start : start + width] for start in range(0, width * height, width)]
    along_rows = [[sum(map(mul, line, wave)) for line in lines] for wave in horizontal]
    amplitudes = [
        sum(map(mul, along_rows[x], vertical[y])) / (width * height)
        for y in range(rows)
        for x in range(columns)
        if x * rows < columns * (rows - y)
    ]
    mean, others = amplitudes[0], amplitudes[1:]
    scale = max(map(abs, others))
    return _Frequencies(mean, scale, [_round(15 * (0.5 + 0.5 * each / scale)) if scale else 0 for each in others])


def _cosines(count: int, length: int) -> list[list[float]]:
    """Return the first `count` cosine waves over `length` samples."""
    return [[cos(pi / length * wave * (sample + 0.5)) for sample in range(length)] for wave in range(count)]


def _pack_header(transforms: list[_Frequencies], shorter_count: int, landscape: bool) -> bytes:
    """Return 5 bytes, or 6 with alpha: means, scales, flags, and the luminance frequencies along the shorter side."""
    luminance, yellow_blue, red_green, *alpha = transforms
    colour = (
        _round(63 * luminance.mean)
        | _round(31.5 + 31.5 * yellow_blue.mean) << 6
        | _round(31.5 + 31.5 * red_green.mean) << 12
        | _round(31 * luminance.scale) << 18
        | bool(alpha) << 23
    )
    shape = shorter_count | _round(63 * yellow_blue.scale) << 3 | _round(63 * red_green.scale) << 9 | landscape << 15
    header = colour.to_bytes(3, "little") + shape.to_bytes(2, "little")
    if alpha:
        header += bytes([_round(15 * alpha[0].mean) | _round(15 * alpha[0].scale) << 4])
    return header


def _pack_steps(steps: list[int]) -> bytes:
    """Return 4-bit values, two to a byte, the first of them in the lower half."""
    padded = [*steps, 0] if len(steps) % 2 else steps
    return bytes(low | high << 4 for low, high in zip(padded[::2], padded[1::2], strict=True))


def _round(value: float) -> int:
    """Round half up, as the published implementations do."""
    return floor(value + 0.5)
