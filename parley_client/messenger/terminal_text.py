"""What users wrote, made safe for columns of a terminal: nothing steers it, nothing turns or widens a line."""

from __future__ import annotations

import unicodedata

from parley_client.cli.formatting import printable

# First strong isolate and its end: a terminal that turns right-to-left text turns that alone, and not the columns.
_ISOLATE, _END = "\u2068", "\u2069"
# Whether a sign is drawn as an emoji is told by a selector that terminals disagree about.
_SELECTORS = ("\ufe0e", "\ufe0f")


def tidy(text: str) -> str:
    """A name or title, in one line."""
    return isolated(" ".join(flat(text).split()))


def flat(text: str) -> str:
    """Words with their line ends, and nothing that terminals draw in different widths."""
    for selector in _SELECTORS:
        text = text.replace(selector, "")
    return printable(unicodedata.normalize("NFC", text)).replace("\t", "    ")


def isolated(text: str) -> str:
    """The same; with a bracket around it that keeps right-to-left text from turning what stands beside it."""
    turns = any(unicodedata.bidirectional(sign) in ("R", "AL") for sign in text)
    return f"{_ISOLATE}{text}{_END}" if turns else text
