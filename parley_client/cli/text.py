"""Texts of others made harmless for a terminal or a line of JSON."""

from __future__ import annotations

import re

_LINE_BREAKS = re.compile("\r\n|[\v\f\r\x85\u2028\u2029]")
# Control characters, surrogates, and the bidirectional embeddings, overrides and isolates.
_FORGING = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
# Inside of a JSON string, where the other control characters are escaped already.
_JSON_FORGING = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return `text` without the characters that could forge the screen; every other character stays.

    Control characters could send commands to the terminal, and bidirectional controls could reorder the text around
    them. Joiners, spaces of any width, and characters newer than Python's tables are part of the text, although
    `str.isprintable` denies that.
    """
    return _FORGING.sub("", _LINE_BREAKS.sub("\n", text))


def escape_json(document: str) -> str:
    """Return a JSON document in which the characters that could forge the screen, or end a line, are escaped."""
    return _JSON_FORGING.sub(lambda char: f"\\u{ord(char[0]):04x}", document)


def one_cell(text: str) -> str:
    """Return a name, title or reaction of others as a single line, which cannot look like a line of its own."""
    return " ".join(printable(text).split())
