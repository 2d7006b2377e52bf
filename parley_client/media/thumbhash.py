"""The decoder of ThumbHash placeholders (evanw.github.io/thumbhash): about 25 bytes become a blurred picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

# The longer side of a decoded placeholder, in pixels.
PLACEHOLDER_PIXELS = 32
# Bytes before the weights: with alpha there is one more.
_HEADER_BYTES = 5


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A blurred picture: `rgba` has 4 bytes for each pixel, row by row."""

    width: int
    height: int
    rgba: bytes


def decode_thumbhash(thumbhash: bytes) -> Placeholder:
    """Return the placeholder of a ThumbHash, 32 pixels on its longer side. Raises ValueError for other bytes."""
    if len(thumbhash) < _HEADER_BYTES + 1:
        raise ValueError("not a ThumbHash: it is too short")
    low, high = int.from_bytes(thumbhash[:3], "little"), int.from_bytes(thumbhash[3:5], "little")
    has_alpha = bool(low >> 23)
    longer, shorter = 5 if has_alpha else 7, max(1, high & 7)
    columns, rows = (longer, shorter) if high >> 15 else (shorter, longer)
    weights = _read_weights(thumbhash[_HEADER_BYTES + has_alpha :])
    width, height = _size(columns / rows)
    size = (width, height)
    lightness = _decode_channel((low & 63) / 63, (low >> 18 & 31) / 31, (max(3, columns), max(3, rows)), weights, size)
    yellow_blue = _decode_channel((low >> 6 & 63) / 31.5 - 1, (high >> 3 & 63) / 63 * 1.25, (3, 3), weights, size)
    red_green = _decode_channel((low >> 12 & 63) / 31.5 - 1, (high >> 9 & 63) / 63 * 1.25, (3, 3), weights, size)
    alpha = [1.0] * (width * height)
    if has_alpha:
        packed = thumbhash[_HEADER_BYTES]
        alpha = _decode_channel((packed & 15) / 15, (packed >> 4) / 15, (5, 5), weights, size)
    rgba = bytearray()
    for light, p, q, opacity in zip(lightness, yellow_blue, red_green, alpha, strict=True):
        blue = light - 2 / 3 * p
        red = (3 * light - blue + q) / 2
        rgba += bytes(round(255 * min(1.0, max(0.0, each))) for each in (red, red - q, blue, opacity))
    return Placeholder(width, height, bytes(rgba))


def _size(ratio: float) -> tuple[int, int]:
    longest = PLACEHOLDER_PIXELS
    return (longest, max(1, round(longest / ratio))) if ratio > 1 else (max(1, round(longest * ratio)), longest)


def _read_weights(packed: bytes) -> Iterator[float]:
    """Yield the weights of the cosines, 4 bits each, from -1 to 1."""
    for byte in packed:
        yield (byte & 15) / 7.5 - 1
        yield (byte >> 4) / 7.5 - 1


def _decode_channel(
    average: float, scale: float, waves: tuple[int, int], weights: Iterator[float], size: tuple[int, int]
) -> list[float]:
    """Return a channel, row by row: its average and a sum of cosines of fewer than `waves` half waves on each axis."""
    columns, rows = waves
    terms = []
    for y in range(rows):
        for x in range(0 if y else 1, columns):
            if x * rows < columns * (rows - y):
                weight = next(weights, None)
                if weight is None:
                    raise ValueError("not a ThumbHash: it is too short")
                terms.append((x, y, weight * scale * 2))
    across, down = _cosines(columns, size[0]), _cosines(rows, size[1])
    return [
        average + sum(weight * across[x][column] * down[y][row] for x, y, weight in terms)
        for row in range(size[1])
        for column in range(size[0])
    ]


def _cosines(waves: int, length: int) -> list[list[float]]:
    return [[math.cos(math.pi / length * (at + 0.5) * wave) for at in range(length)] for wave in range(waves)]
