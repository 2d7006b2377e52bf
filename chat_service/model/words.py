"""The words of a text, as searches compare them: without case, accents, and the marks between words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

# Distinct words of one text that count, the first ones; and characters of a word, the rest is not looked at.
MAX_WORDS: Final = 256
MAX_WORD_CHARS: Final = 32
# A shorter beginning of a word is found in too many texts.
MIN_PREFIX_CHARS: Final = 3

# Han, Hiragana, Katakana, Hangul, Thai, Lao, Myanmar, Khmer: no spaces stand between words, or not all that count.
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3130-\u318f"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U000323af"
)
# All signs that belong to the letter before them: what is no accent stays, vowels of Indic scripts for example.
_ALL_MARKS: Final = [chr(code) for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M"]
_MARKS: Final = "".join(_ALL_MARKS)
# Classes of marks that are accents: through a letter, points of Hebrew and Arabic, above or below a letter.
_OVERLAY: Final = 1
_POINTS: Final = range(10, 37)
_ATTACHED: Final = 200


def _is_accent(mark: str) -> bool:
    kind = unicodedata.combining(mark)
    return kind >= _ATTACHED or kind == _OVERLAY or kind in _POINTS


_ACCENTS: Final = re.compile(f"[{''.join(filter(_is_accent, _ALL_MARKS))}]")
# What is not seen and ends no word: soft hyphen, joiners, the Arabic stretch, variation selectors.
_INVISIBLE: Final = re.compile("[\u00ad\u0640\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]")
_ASCII: Final = re.compile(r"[a-z0-9]+")
# The rule for most scripts, which is quick, and the one for those that need more.
_PLAIN: Final = re.compile(r"[^\W_]+")
_NEEDS_RUN: Final = re.compile(f"[{_UNSPACED}{_MARKS}]")
_RUN: Final = re.compile(
    rf"(?P<unspaced>(?:(?=[^\W_])[{_UNSPACED}][{_MARKS}]*)+)|(?P<spaced>(?:(?![{_UNSPACED}])[^\W_][{_MARKS}]*)+)"
)
_CHARACTER: Final = re.compile(rf"(?=[^\W_])[{_UNSPACED}][{_MARKS}]*")


@dataclass(frozen=True, slots=True)
class MessageQuery:
    """What a message must have to be found: all of `words`, and for each of `prefixes` a word that begins so."""

    words: tuple[str, ...]
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> MessageQuery:
        """What a person typed: the last word may be unfinished, unless something follows it."""
        runs = list(_runs(text))
        words, prefixes = dict[str, None](), dict[str, None]()
        for at, (run, spaced) in enumerate(runs):
            unfinished = at == len(runs) - 1 and _open_ended(text)
            if spaced:
                begins = unfinished and len(run) >= MIN_PREFIX_CHARS
                (prefixes if begins else words)[run[:MAX_WORD_CHARS]] = None
            elif len(characters := _CHARACTER.findall(run)) == 1:
                # Any of a run begins one of its pairs, or is its last.
                prefixes[run] = None
            else:
                words |= dict.fromkeys(_pairs(characters))
        return cls(tuple(words), tuple(prefixes))

    def __bool__(self) -> bool:
        return bool(self.words or self.prefixes)


def extract_words(text: str) -> list[str]:
    """The distinct words of a text, in order, at most MOST_WORDS.

    Where words are not told apart by spaces these are pairs of neighbours, and the last character by itself.
    """
    found = dict[str, None]()
    for run, spaced in _runs(text):
        if spaced:
            found[run[:MAX_WORD_CHARS]] = None
        else:
            characters = _CHARACTER.findall(run)
            found |= dict.fromkeys([*_pairs(characters), characters[-1]])
        if len(found) >= MAX_WORDS:
            break
    return list(found)[:MAX_WORDS]


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    """What stands between breaks, and whether it is one word; else it is a run of a script without spaces."""
    if text.isascii():
        text, form = text.lower(), _ASCII
    else:
        text = _fold(text)
        form = _RUN if _NEEDS_RUN.search(text) else _PLAIN
    for match in form.finditer(text):
        yield match[0], match.lastgroup != "unspaced"


def _pairs(characters: list[str]) -> list[str]:
    return [one + other for one, other in pairwise(characters)]


def _fold(text: str) -> str:
    folded = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold()
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", folded)))


def _open_ended(text: str) -> bool:
    """Whether a text ends within a word."""
    last = _fold(text)[-1:]
    return last.isalnum() or unicodedata.category(last or " ")[0] == "M"
