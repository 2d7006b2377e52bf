"""Tokenization for search: the folded words of a text, without punctuation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from chat_service.model.text_folding import ALL_MARKS, UNSPACED_SCRIPTS, fold, fold_as_before

# Only the first MAX_WORDS distinct words of a text are indexed, and of each word the first MAX_WORD_CHARS characters.
MAX_WORDS: Final = 256
MAX_WORD_CHARS: Final = 32
# A shorter prefix occurs in too many texts.
MIN_PREFIX_CHARS: Final = 3

_MARKS: Final = "".join(ALL_MARKS)
_ASCII: Final = re.compile(r"[a-z0-9]+")
# The fast pattern for most scripts, and the one for texts with unspaced scripts or combining marks.
_PLAIN: Final = re.compile(r"[^\W_]+")
_NEEDS_RUN: Final = re.compile(f"[{UNSPACED_SCRIPTS}{_MARKS}]")
_RUN: Final = re.compile(
    rf"(?P<unspaced>(?:(?=[^\W_])[{UNSPACED_SCRIPTS}][{_MARKS}]*)+)|(?P<spaced>(?:(?![{UNSPACED_SCRIPTS}])[^\W_][{_MARKS}]*)+)"
)
_CHARACTER: Final = re.compile(rf"(?=[^\W_])[{UNSPACED_SCRIPTS}][{_MARKS}]*")


@dataclass(frozen=True, slots=True)
class MessageQuery:
    """A search query: a message matches if it has all `words` and, for each of `prefixes`, a word with that prefix."""

    words: tuple[str, ...]
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str, folding: Callable[[str], str] = fold) -> MessageQuery:
        """Return the query for a typed text; its last word is a prefix unless punctuation or a space follows it."""
        text = folding(text)
        runs = list(_runs(text))
        words, prefixes = dict[str, None](), dict[str, None]()
        for index, (run, spaced) in enumerate(runs):
            unfinished = index == len(runs) - 1 and _open_ended(text)
            if spaced:
                is_prefix = unfinished and len(run) >= MIN_PREFIX_CHARS
                (prefixes if is_prefix else words)[run[:MAX_WORD_CHARS]] = None
            elif len(characters := _CHARACTER.findall(run)) == 1:
                # Every character of an unspaced run is the first of an indexed pair, or the indexed last character.
                prefixes[run] = None
            else:
                words |= dict.fromkeys(_pairs(characters))
        return cls(tuple(words), tuple(prefixes))

    @classmethod
    def alternatives(cls, text: str) -> tuple[MessageQuery, ...]:
        """Return the query for a typed text and, if it differs, the one for messages that earlier versions indexed."""
        query, before = cls.of(text), cls.of(text, fold_as_before)
        return (query, before) if before and before != query else (query,)

    def __bool__(self) -> bool:
        return bool(self.words or self.prefixes)


def extract_words(text: str) -> list[str]:
    """Return the distinct words of a text, in order, at most MAX_WORDS.

    For scripts without spaces between words these are the pairs of adjacent characters, and the last character.
    """
    found = dict[str, None]()
    for run, spaced in _runs(fold(text)):
        if spaced:
            found[run[:MAX_WORD_CHARS]] = None
        else:
            characters = _CHARACTER.findall(run)
            found |= dict.fromkeys([*_pairs(characters), characters[-1]])
        if len(found) >= MAX_WORDS:
            break
    return list(found)[:MAX_WORDS]


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each run of letters and digits of a folded text, and False if its script has no spaces between words."""
    pattern = _ASCII if text.isascii() else _RUN if _NEEDS_RUN.search(text) else _PLAIN
    for match in pattern.finditer(text):
        yield match[0], match.lastgroup != "unspaced"


def _pairs(characters: list[str]) -> list[str]:
    return [one + other for one, other in pairwise(characters)]


def _open_ended(text: str) -> bool:
    """Return True if a folded text ends with a letter, a digit or a combining mark."""
    last = text[-1:]
    return last.isalnum() or unicodedata.category(last or " ")[0] == "M"
