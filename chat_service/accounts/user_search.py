"""Search keys of users, and queries for users by a prefix of a name.

One index must return the matches of a prefix of any length in the order of login names, a page at a time. So the
prefixes of a few PREFIX_LENGTHS are stored, and a query is an equality of the longest of them in the index. The rest of
the query is compared with the words of the matches.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from chat_service.model.text_folding import UNSPACED_SCRIPTS, fold

PREFIX_LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
MAX_QUERY_CHARS = 64
# Words indexed for one account: a bound on the keys of a name made of single letters.
MAX_WORDS = 16
# The first character of the only key of a hidden account. No folded query begins with it.
EXACT_MATCH_PREFIX = "\n"
# A character of a script without spaces between words: each of them may begin a word.
_UNSPACED = re.compile(f"[{UNSPACED_SCRIPTS}]")
_LETTERS_BEFORE = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe"})


@dataclass(frozen=True, slots=True)
class SearchKeys:
    """The search keys of an account: the `words` of its names, and their `prefixes` of PREFIX_LENGTHS."""

    words: tuple[str, ...]
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserQuery:
    """The folded prefix of a name, and its folding by earlier versions if it differs. A match has one of `texts`.

    A query without texts matches no user.
    """

    texts: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> UserQuery:
        """Return the query in a text, cut to MAX_QUERY_CHARS."""
        folded = (fold_name(text)[:MAX_QUERY_CHARS], _fold_as_before(text)[:MAX_QUERY_CHARS])
        return cls(tuple(dict.fromkeys(filter(None, folded))))

    @property
    def keys(self) -> list[str]:
        """Return the keys of which every match has one: the longest stored prefix, or the whole login name."""
        return [key for text in self.texts for key in (_longest_prefix(text), EXACT_MATCH_PREFIX + text)]

    @property
    def exceeds_keys(self) -> bool:
        """Return True if the keys do not contain the whole query, so that the words must be compared as well."""
        return any(_longest_prefix(text) != text for text in self.texts)


def search_keys(login_name: str, display_name: str) -> SearchKeys:
    """Return the keys that match prefixes of the login name and of every word of the display name."""
    folded = fold_name(display_name)
    # O'Brien is also found by "obrien".
    texts = dict.fromkeys(
        (fold_name(login_name), *_suffixes_by_word(folded), *_suffixes_by_word(folded.replace("'", "")))
    )
    words = tuple(word[:MAX_QUERY_CHARS] for word in texts if word)[:MAX_WORDS]
    prefixes = {word[:length] for word in words for length in PREFIX_LENGTHS if length <= len(word)}
    return SearchKeys(words, tuple(sorted(prefixes)))


def hidden_keys(login_name: str) -> SearchKeys:
    """Return the key of a hidden account, which matches only its whole login name."""
    return SearchKeys((fold_name(login_name),), (EXACT_MATCH_PREFIX + fold_name(login_name),))


def fold_name(text: str) -> str:
    """Return the folded text without control characters, with runs of white space made one space."""
    kept = "".join(char for char in fold(text) if char.isspace() or unicodedata.category(char) != "Cc")
    return " ".join(kept.split())


def _fold_as_before(text: str) -> str:
    """Return the text as earlier versions folded it, which stored the keys of accounts that way."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept = "".join(
        char for char in decomposed if char.isspace() or unicodedata.category(char) not in {"Mn", "Cc", "Cf", "Cs"}
    )
    return " ".join(kept.translate(_LETTERS_BEFORE).split())


def _longest_prefix(text: str) -> str:
    return text[: max(length for length in PREFIX_LENGTHS if length <= len(text))]


def _suffixes_by_word(text: str) -> Iterator[str]:
    """Yield the rest of `text` from the beginning of each word, so that "mary sm" finds Alice Mary Smith."""
    previous = " "
    for index, char in enumerate(text):
        if _is_letter(char) and (not _is_letter(previous) or _UNSPACED.match(char)):
            yield text[index:]
        previous = char


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LNMS"
