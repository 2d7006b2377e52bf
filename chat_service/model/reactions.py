"""The emoji that are valid reactions, from the list of the package `emoji`, and the equality of reactions."""

from __future__ import annotations

import re
from typing import Final

from emoji import EMOJI_DATA

# Variation selectors choose between the coloured and the plain form of a character. Not all keyboards add them.
_SELECTORS: Final = str.maketrans("", "", "\ufe0e\ufe0f")
_MISPLACED_SELECTOR: Final = re.compile("(?:^|[\ufe0e\ufe0f])[\ufe0e\ufe0f]")
_EMOJI: Final = frozenset(each.translate(_SELECTORS) for each in EMOJI_DATA)


def is_emoji(text: str) -> bool:
    """Return True if `text` is one emoji, with or without its variation selectors."""
    return text.translate(_SELECTORS) in _EMOJI and not _MISPLACED_SELECTOR.search(text)


def is_same_reaction(one: str, other: str) -> bool:
    """Return True if two reactions differ in variation selectors at most."""
    return one.translate(_SELECTORS) == other.translate(_SELECTORS)
