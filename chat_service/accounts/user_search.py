"""How users are found by the beginning of a name: what is stored of a name, and what is asked.

A prefix of any length must come in the order of login names, a page at a time, from one index. So the prefixes of a
few LENGTHS are stored, each of which is an equality in the index; what a query has beyond the longest of them
is compared with the words of those found.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

PREFIX_LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
MAX_QUERY_CHARS = 64
# Beginnings of words kept of one account: a name of single letters may not fill the index.
MAX_WORDS = 16
# What stands before the only key of a name that is found as a whole alone; nothing that is asked begins so.
EXACT_MATCH_PREFIX = "\n"

# Letters that carry what looks like an accent but do not come apart from it.
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe"})


@dataclass(frozen=True, slots=True)
class SearchKeys:
    """What is stored of an account's names: `words` in full, and their `prefixes` of the stored lengths."""

    words: tuple[str, ...]
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserQuery:
    """The beginning of a name, made comparable; empty when nothing is left of it, and then nobody is found."""

    text: str

    @classmethod
    def of(cls, text: str) -> UserQuery:
        """What a person typed."""
        return cls(fold(text)[:MAX_QUERY_CHARS])

    @property
    def prefix(self) -> str:
        """The longest stored prefix that all matches have."""
        return self.text[: max(length for length in PREFIX_LENGTHS if length <= len(self.text))]

    @property
    def prefixes(self) -> tuple[str, str]:
        """What those found have one of: the stored prefix, or the whole login name."""
        return self.prefix, EXACT_MATCH_PREFIX + self.text


def search_keys(login_name: str, display_name: str) -> SearchKeys:
    """What is stored so that the login name, and every word of the display name, is found by its beginning."""
    words = dict.fromkeys((fold(login_name), *_suffixes_by_word(fold(display_name))))
    kept = tuple(word[:MAX_QUERY_CHARS] for word in words if word)[:MAX_WORDS]
    prefixes = {word[:length] for word in kept for length in PREFIX_LENGTHS if length <= len(word)}
    return SearchKeys(kept, tuple(sorted(prefixes)))


def hidden_keys(login_name: str) -> SearchKeys:
    """What is stored so that the login name is found as a whole, and nothing else finds."""
    return SearchKeys((fold(login_name),), (EXACT_MATCH_PREFIX + fold(login_name),))


def fold(text: str) -> str:
    """`text` without what is ignored: case, accents, control characters, white space around and beyond one."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept = "".join(
        char for char in decomposed if char.isspace() or unicodedata.category(char) not in {"Mn", "Cc", "Cf", "Cs"}
    )
    return " ".join(kept.translate(_PLAIN).split())


def _suffixes_by_word(text: str) -> Iterator[str]:
    """`text` from the beginning of each of its words to its end, so that "mary sm" finds Alice Mary Smith."""
    before = " "
    for index, char in enumerate(text):
        if _is_letter(char) and (not _is_letter(before) or _is_cjk(char)):
            yield text[index:]
        before = char


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LNMS"


def _is_cjk(char: str) -> bool:
    """Whether the script has no spaces: each character may then begin a word."""
    return "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff" or "\U00020000" <= char <= "\U0003ffff"
