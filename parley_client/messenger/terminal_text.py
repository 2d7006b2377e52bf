"""Text of users made safe for terminal columns: no control characters, no bidirectional spill, stable widths."""

from __future__ import annotations

import re
import unicodedata

from parley_client.cli.text import printable

# First strong isolate and pop directional isolate: they confine right-to-left reordering to the text between them.
_ISOLATE, _END = "\u2068", "\u2069"
_JOINER, _WORD_JOINER = "\u200d", "\u2060"
_EMOJI = "[\u2190-\u21ff\u2300-\u23ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\U0001f300-\U0001faff]"
_EMOJI += "[\U0001f3fb-\U0001f3ff]?\ufe0f?"
# A joined emoji; a joiner elsewhere; or a variation selector or soft hyphen, whose width differs between terminals.
_SPECIAL = re.compile(f"{_EMOJI}(?:{_JOINER}{_EMOJI}){{1,4}}|{_JOINER}|[\ufe0e\ufe0f\u00ad]")


def one_line(text: str, width: int | None = None) -> str:
    """Return a name, title or text as one isolated line, cut to `width` characters."""
    line = " ".join(normalized(text).split())
    return isolate_rtl(line if width is None or len(line) <= width else f"{line[: width - 1]}…")


def normalized(text: str) -> str:
    """Return `text` with its line breaks and joiners, without characters that terminals draw in different widths."""
    return _SPECIAL.sub(_fix_width, printable(unicodedata.normalize("NFC", text))).replace("\t", "    ")


def isolate_rtl(text: str) -> str:
    """Return `text`, wrapped in isolates if it contains right-to-left characters."""
    has_rtl = any(unicodedata.bidirectional(char) in ("R", "AL") for char in text)
    return f"{_ISOLATE}{text}{_END}" if has_rtl else text


def _fix_width(special: re.Match[str]) -> str:
    """Return what stands for a match of `_SPECIAL`.

    Rich counts no cells for the character after a joiner, as if every joiner joined emoji. A word joiner takes that
    place, because a line that is longer than its count would overwrite the next one.
    """
    if special[0] == _JOINER:
        return _JOINER + _WORD_JOINER
    return special[0] if _JOINER in special[0] else ""
