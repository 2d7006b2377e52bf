"""Names that users show to each other: how they are stored, and how names of other sources are made to fit.

The rule for names in requests is `parley.common.v1.name` in the protos.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_REFUSED: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Letters and a symbol without ink: the Hangul fillers and the blank Braille pattern.
_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def normalize_name(name: str) -> str:
    """Return a name as it is stored: without white space around it, and with one space for each run of white space."""
    return " ".join(name.split())


def sanitize_name(name: str) -> str:
    """Return the name of another source, such as a token, without what the rule refuses; empty if nothing shows."""
    sanitized = _REFUSED.sub("", normalize_name(name))
    return sanitized if any(map(_is_visible, sanitized)) else ""


def _is_visible(character: str) -> bool:
    # Unassigned code points may be letters or emoji of a newer version of Unicode.
    category = unicodedata.category(character)
    return (category[0] in "LNPS" or category == "Cn") and character not in _BLANK
