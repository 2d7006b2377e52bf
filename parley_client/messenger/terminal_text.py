"""Text of users made safe for terminal columns: no control characters, no bidirectional spill, stable widths."""

from __future__ import annotations

import unicodedata

from parley_client.cli.formatting import printable

# First strong isolate and pop directional isolate: they confine right-to-left reordering to the text between them.
_ISOLATE, _END = "\u2068", "\u2069"
# Variation selectors for text and emoji presentation, whose width differs between terminals.
_SELECTORS = ("\ufe0e", "\ufe0f")


def one_line(text: str) -> str:
    """Return a name or title as one isolated line."""
    return isolate_rtl(" ".join(normalized(text).split()))


def normalized(text: str) -> str:
    """Return `text` with its line breaks, without characters that terminals draw in different widths."""
    for selector in _SELECTORS:
        text = text.replace(selector, "")
    return printable(unicodedata.normalize("NFC", text)).replace("\t", "    ")


def isolate_rtl(text: str) -> str:
    """Return `text`, wrapped in isolates if it contains right-to-left characters."""
    has_rtl = any(unicodedata.bidirectional(char) in ("R", "AL") for char in text)
    return f"{_ISOLATE}{text}{_END}" if has_rtl else text
