"""The facts of a film or sound that a client needs to draw it, within their bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

MAX_DIMENSION: Final = 2**31 - 1
MAX_DURATION_MS: Final = 10 * 365 * 24 * 3600 * 1000
"""Ten years. A file that claims more claims nothing."""


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """The width and height as shown, in pixels (0: no picture, or unknown), and the playing time (0: unknown)."""

    width: int
    height: int
    duration_ms: int
    has_video: bool


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The width and height of a picture in pixels; 0 and 0 if unknown."""

    width: int = 0
    height: int = 0

    def rotated(self) -> Dimensions:
        """Return the dimensions after a quarter turn."""
        return Dimensions(self.height, self.width)

    def bounded(self) -> Dimensions:
        """Return these dimensions if they are possible, and unknown ones otherwise."""
        is_possible = 0 < self.width <= MAX_DIMENSION and 0 < self.height <= MAX_DIMENSION
        return self if is_possible else Dimensions()


def to_milliseconds(duration: int | float, units_per_second: int | Fraction) -> int:
    """Return a duration in milliseconds, rounded; 0 if it is not a possible one."""
    if units_per_second <= 0 or not math.isfinite(duration) or duration <= 0:
        return 0
    milliseconds = round(Fraction(duration) * 1000 / units_per_second)
    return milliseconds if milliseconds <= MAX_DURATION_MS else 0
