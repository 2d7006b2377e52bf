"""Cutting texts: what a reader sees as one character stays whole (a subset of UAX 29, grapheme clusters)."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final

ELLIPSIS: Final = "…"

_ZERO_WIDTH_JOINER: Final = "\u200d"
_SKIN_TONES: Final = range(0x1F3FB, 0x1F400)
_REGIONAL_INDICATORS: Final = range(0x1F1E6, 0x1F200)
# The tag characters, which spell the flags of England, Scotland and Wales after a black flag.
_TAGS: Final = range(0xE0020, 0xE0080)


def cut(text: str, length: int) -> str:
    """Return at most `length` code points of `text`, with an ellipsis as the last one if something was cut off."""
    if len(text) <= length:
        return text
    end = max(length - 1, 0)
    while end > 0 and not _is_boundary(text, end):
        end -= 1
    return text[:end].rstrip() + ELLIPSIS if length > 0 else ""


def cut_to_fit(text: str, fits: Callable[[str], bool]) -> str:
    """Return the longest cut of `text` for which `fits` is true; the empty text if none is.

    `fits` must be true for every text that is shorter than one for which it is true.
    """
    if fits(text):
        return text
    shortest, too_long = 0, len(text)
    while too_long - shortest > 1:
        middle = (shortest + too_long) // 2
        if fits(cut(text, middle)):
            shortest = middle
        else:
            too_long = middle
    return cut(text, shortest)


def _is_boundary(text: str, index: int) -> bool:
    """Return True if `text` may be cut before `index`, which is within the text."""
    before, after = text[index - 1], text[index]
    if before == _ZERO_WIDTH_JOINER or after == _ZERO_WIDTH_JOINER:
        return False
    # Accents, vowel signs and variation selectors belong to the letter or emoji before them.
    if unicodedata.category(after).startswith("M") or ord(after) in _SKIN_TONES or ord(after) in _TAGS:
        return False
    return not (ord(after) in _REGIONAL_INDICATORS and _indicators_before(text, index) % 2)


def _indicators_before(text: str, index: int) -> int:
    """Return the number of regional indicators in a row before `index`: two of them are a flag."""
    start = index
    while start > 0 and ord(text[start - 1]) in _REGIONAL_INDICATORS:
        start -= 1
    return index - start
