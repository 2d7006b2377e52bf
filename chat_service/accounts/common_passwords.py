"""The most common passwords, which attackers try first; no new password may be one of them."""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.resources import files
from typing import Final

# One password a line, in lower case; the lines before the first empty one say where the list is from.
_FILE: Final = "common_passwords.txt"


def is_common(password: str) -> bool:
    """Return True if a password is one of the most common ones, in any case of its letters."""
    return unicodedata.normalize("NFC", password).casefold() in _load()


@cache
def _load() -> frozenset[str]:
    text = files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    return frozenset(text.partition("\n\n")[2].splitlines())
