"""The folding of texts for search: texts that a reader takes for the same become equal.

A folded text has no case, accents, ligatures, widths or invisible characters. Letters of the Latin script that Unicode
does not decompose, such as đ, ł, ø and æ, become the ASCII letters that readers type for them; digits of every script
become ASCII digits; the forms of the apostrophe and of the hyphen become one each. Letters of other scripts stay in
their script.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from anyascii import anyascii

# All combining marks. Those that are no accents are kept, such as the vowel signs of Indic scripts.
ALL_MARKS: Final = tuple(chr(code) for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M")
# Combining classes of accents: overlays, points of Hebrew and Arabic, marks above or below a letter.
_OVERLAY: Final = 1
_POINTS: Final = range(10, 37)
_ATTACHED: Final = 200
# The blocks of Unicode with letters of the Latin script.
_LATIN_BLOCKS: Final = (
    range(0x80, 0x2B0),
    range(0x1D00, 0x1DC0),
    range(0x1E00, 0x1F00),
    range(0x2C60, 0x2C80),
    range(0xA722, 0xA800),
    range(0xAB30, 0xAB70),
)
# Letters that look like those of the Arabic keyboard: Persian and Urdu yeh, kaf and heh, and yeh without dots.
_ARABIC_LETTERS: Final = {"ی": "ي", "ى": "ي", "ک": "ك", "ہ": "ه", "ھ": "ه"}
_APOSTROPHES: Final = "`ʹʻʼʽʾʿˈˊˋ՚׳‘’‛′‵ꞌ"
_HYPHENS: Final = "˗֊־᠆‐‑‒–—―−"
# Han, Hiragana, Katakana, Hangul, Thai, Lao, Myanmar, Khmer: spaces do not separate the words, or not all of them.
UNSPACED_SCRIPTS: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3130-\u318f"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U000323af"
)
# The code points that Unicode calls default ignorable, the Arabic tatweel, and interlinear annotations.
INVISIBLE_CHARACTERS: Final = (
    "\u00ad\u034f\u061c\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)


def _is_accent(mark: str) -> bool:
    kind = unicodedata.combining(mark)
    return kind >= _ATTACHED or kind == _OVERLAY or kind in _POINTS


def _latin_letters() -> Iterator[tuple[str, str]]:
    """Yield each lower-case Latin letter that does not decompose, with its ASCII letters."""
    for character in (chr(code) for block in _LATIN_BLOCKS for code in block):
        if unicodedata.name(character, "").startswith("LATIN ") and character == _decompose(character):
            letters = "".join(filter(str.isalpha, anyascii(character).lower()))
            if letters:
                yield character, letters


def _decompose(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", folded))


_ACCENTS: Final = re.compile(f"[{''.join(filter(_is_accent, ALL_MARKS))}]")
_INVISIBLE: Final = re.compile(f"[{INVISIBLE_CHARACTERS}]")
_INVISIBLE_BEFORE: Final = re.compile("[\u00ad\u0640\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]")
_REPLACEMENTS: Final = (
    dict.fromkeys(_APOSTROPHES, "'")
    | dict.fromkeys(_HYPHENS, "-")
    | dict(_latin_letters())
    | _ARABIC_LETTERS
    | {chr(code): str(unicodedata.decimal(chr(code))) for code in range(0x80, 0x10000) if chr(code).isdecimal()}
)
# All of them are in the Basic Multilingual Plane: Python compiles such a class to a table, others to a slow list.
_REPLACED: Final = re.compile(f"[{''.join(_REPLACEMENTS)}]")


def fold(text: str) -> str:
    """Return the folded text.

    Folding it again changes nothing. A word is folded in the same way alone and within a text.
    """
    if text.isascii():
        return text.lower().replace("`", "'")
    # Replace this apostrophe first: NFKC makes a space and an accent of it.
    visible = _INVISIBLE.sub("", text.replace("´", "'"))
    return unicodedata.normalize("NFC", _REPLACED.sub(lambda match: _REPLACEMENTS[match[0]], _decompose(visible)))


def fold_as_before(text: str) -> str:
    """Return the text as earlier versions folded it, which stored the words of messages that way."""
    folded = unicodedata.normalize("NFKC", _INVISIBLE_BEFORE.sub("", text)).casefold()
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", folded)))
