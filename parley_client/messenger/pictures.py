"""Pictures in terminal cells: half blocks in true colour, or the placeholders of kitty's graphics protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style

if TYPE_CHECKING:
    from PIL.Image import Image

# A picture fills at most so many cells, so that the conversation stays visible around it.
MAX_COLUMNS, MAX_ROWS = 40, 10
# In fewer columns a picture shows nothing.
MIN_COLUMNS = 8
# The code point that kitty replaces by a part of a picture, and the marks that name its row and its column, in order.
_PLACEHOLDER = "\U0010eeee"
_MARKS = (
    "\u0305\u030d\u030e\u0310\u0312\u033d\u033e\u033f\u0346\u034a\u034b\u034c\u0350\u0351\u0352\u0357\u035b\u0363\u0364"
    "\u0365\u0366\u0367\u0368\u0369\u036a\u036b\u036c\u036d\u036e\u036f\u0483\u0484\u0485\u0486\u0487\u0592\u0593\u0594"
    "\u0595\u0597"
)


class PictureStyle(StrEnum):
    """The way in which the messenger draws pictures."""

    AUTO = "auto"
    """By the environment of the terminal."""
    KITTY = "kitty"
    """kitty's graphics protocol, which kitty and Ghostty draw inside of other text."""
    BLOCKS = "blocks"
    """Half blocks, two coloured pixels a cell."""
    OFF = "off"
    """Name and size only."""


def detect_style(environment: Mapping[str, str]) -> PictureStyle:
    """Return the best style that the terminal is known to draw. The terminal is not asked: it would not always answer.

    Sixel pictures cannot be a part of text that scrolls; terminals that know only these get half blocks.
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    has_true_colour = environment.get("COLORTERM", "") in ("truecolor", "24bit")
    if environment.get("NO_COLOR") or not (has_true_colour or "256color" in term or "kitty" in term):
        return PictureStyle.OFF
    draws_placeholders = "KITTY_WINDOW_ID" in environment or term in ("xterm-kitty", "xterm-ghostty")
    is_multiplexed = "TMUX" in environment or term.startswith(("screen", "tmux"))
    # The colour of a placeholder is the number of its picture, so it needs all 24 bits.
    if (draws_placeholders or program == "ghostty") and has_true_colour and not is_multiplexed:
        return PictureStyle.KITTY
    return PictureStyle.BLOCKS


def fit_cells(width: int, height: int, max_columns: int = MAX_COLUMNS, max_rows: int = MAX_ROWS) -> tuple[int, int]:
    """Return the columns and rows of a picture of these pixels. A cell is about twice as high as it is wide."""
    scale = min(max_columns / width, max_rows * 2 / height)
    return max(1, min(max_columns, round(width * scale))), max(1, min(max_rows, round(height * scale / 2)))


@dataclass(frozen=True, slots=True)
class PictureCells:
    """A picture of `columns` × `rows` cells. Two are equal if they draw the same.

    `kitty_id` is the number of a picture that was sent to the terminal; 0: draw half blocks.
    """

    key: str
    columns: int
    rows: int
    image: Image = field(repr=False, compare=False)
    """RGBA, `columns` × 2 `rows` pixels."""
    kitty_id: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines; fewer and shorter ones if the terminal is narrow, none if it is very narrow."""
        width = min(options.max_width, self.columns)
        if width < min(MIN_COLUMNS, self.columns):
            return
        if self.kitty_id and width == self.columns:
            yield from self._placeholder_lines()
        else:
            yield from self._block_lines(width)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Return the width."""
        width = min(options.max_width, self.columns)
        return Measurement(width, width)

    def _block_lines(self, width: int) -> RenderResult:
        rows = max(1, self.rows * width // self.columns)
        image = self.image if width == self.columns else self.image.resize((width, rows * 2))
        packed = image.tobytes()
        pixels = [packed[offset : offset + 4] for offset in range(0, len(packed), 4)]
        for start in range(0, 2 * rows * width, 2 * width):
            for at in range(start, start + width):
                yield _block(pixels[at], pixels[at + width])
            yield Segment.line()

    def _placeholder_lines(self) -> RenderResult:
        style = Style(color=Color.from_rgb(*self.kitty_id.to_bytes(3, "big")), reverse=False)
        for row in range(self.rows):
            cells = (f"{_PLACEHOLDER}{_MARKS[row]}{_MARKS[column]}" for column in range(self.columns))
            yield Segment("".join(cells), style)
            yield Segment.line()


def _block(upper: bytes, lower: bytes) -> Segment:
    """Return a cell of two pixels. What is transparent has the colour of the terminal."""
    above, below = _colour(upper), _colour(lower)
    # A highlighted message is drawn in reverse, which would exchange the two pixels.
    if above is None:
        return Segment("▄" if below else " ", Style(color=below, reverse=False))
    return Segment("▀", Style(color=above, bgcolor=below, reverse=False))


def _colour(pixel: bytes) -> Color | None:
    red, green, blue, alpha = pixel
    return Color.from_rgb(red, green, blue) if alpha >= 128 else None
