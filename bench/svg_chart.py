"""A line chart as SVG, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 50
COLOURS: Final = ("#1f6feb", "#d1590a", "#2da44e", "#bf3989", "#8250df", "#9a6700", "#0a7b83", "#cf222e", "#57606a")
LINEAR_TICKS: Final = 5


class TooManyLines(ValueError):
    """A chart has more lines than there are colours."""


@dataclass(frozen=True, slots=True)
class Line:
    """A named line through points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: its title, its range, and True for a logarithmic scale, whose range is positive."""

    title: str
    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return the place of `value` on the axis, 0 at its low and 1 at its high end; values outside are cut."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Return the values to mark: powers of ten, or equal steps."""
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        return [self.low + (self.high - self.low) * step / LINEAR_TICKS for step in range(LINEAR_TICKS + 1)]


def surrounding_powers(values: Iterable[float]) -> tuple[float, float]:
    """Return the powers of ten below and above positive values, the range of a logarithmic axis; they differ."""
    powers = [math.log10(value) for value in values]
    low = math.floor(min(powers))
    return 10.0**low, 10.0 ** max(math.ceil(max(powers)), low + 1)


def draw_chart(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """Return the SVG of a chart. Raise TooManyLines if it has more lines than there are colours."""
    if len(lines) > len(COLOURS):
        raise TooManyLines(f"a chart has at most {len(COLOURS)} lines, not {len(lines)}")

    def across(value: float) -> float:
        return LEFT + x.place(value) * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, TOP - 16, title, size=15),
        *_draw_grid(x, y, across, up),
        *(part for number, line in enumerate(lines) for part in _draw_line(line, number, across, up)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _draw_grid(x: Axis, y: Axis, across: Callable[[float], float], up: Callable[[float], float]) -> Iterator[str]:
    for value in x.ticks():
        yield f'<path d="M{across(value):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#d8dee4"/>'
        yield _text(across(value), HEIGHT - BOTTOM + 18, f"{value:,.10g}", anchor="middle")
    for value in y.ticks():
        yield f'<path d="M{LEFT} {up(value):.1f}H{WIDTH - RIGHT}" stroke="#d8dee4"/>'
        yield _text(LEFT - 8, up(value) + 4, f"{value:,.10g}", anchor="end")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x.title, anchor="middle")
    if y.title:
        yield _text(WIDTH - RIGHT + 12, TOP - 16, y.title)


def _draw_line(
    line: Line, number: int, across: Callable[[float], float], up: Callable[[float], float]
) -> Iterator[str]:
    points = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line.points)
    yield f'<polyline points="{points}" fill="none" stroke="{COLOURS[number]}" stroke-width="2"/>'
    height = TOP + 14 + 20 * number
    yield f'<path d="M{WIDTH - RIGHT + 12} {height}h20" stroke="{COLOURS[number]}" stroke-width="3"/>'
    yield _text(WIDTH - RIGHT + 38, height + 4, line.name)


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" fill="#24292f"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
