"""Names are found by their prefixes, regardless of case, accents and script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_service.accounts.user_search import MAX_QUERY_CHARS, MAX_WORDS, PREFIX_LENGTHS, UserQuery, fold, search_keys

LOGIN = "someone.else"


def finds(query: str, display_name: str, login_name: str = LOGIN) -> bool:
    """Return True if the store would match: the prefix by equality, the rest by comparison with the words."""
    asked, keys = UserQuery.of(query), search_keys(login_name, display_name)
    return asked.prefix in keys.prefixes and any(word.startswith(asked.text) for word in keys.words)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("ali", "Alice Smith"),
        ("SMI", "Alice Smith"),
        ("mary sm", "Alice Mary Smith"),
        ("jose", "José Núñez"),
        ("NUÑ", "jose nunez"),
        ("strasse", "Straße"),
        ("soren", "Søren Łukasz"),
        ("luk", "Søren Łukasz"),
        ("luc", "Jean-Luc"),
        ("brien", "O'Brien"),
        ("明", "王小明"),
        ("小明", "王小明"),
        ("김", "김철수"),
        ("иван", "ИВАН Петров"),
        ("ﬁ", "Fiona"),
        ("  alice   s", "alice smith"),
        ("party", "\U0001f389 Party"),
        ("some", "Alice"),
        ("someone.e", "Alice"),
    ],
)
def test_matching_query_is_found(query: str, name: str) -> None:
    assert finds(query, name)


@pytest.mark.parametrize(("query", "name"), [("lice", "Alice"), ("smith a", "Alice Smith"), ("else", "Alice")])
def test_other_query_is_not_found(query: str, name: str) -> None:
    assert not finds(query, name)


@given(st.text(min_size=1, max_size=128), st.integers(min_value=1, max_value=64))
def test_every_name_is_found_by_its_prefix(name: str, length: int) -> None:
    start = fold(name)
    words = search_keys(LOGIN, name).words
    assert fold(start) == start
    for word in words:
        assert finds(word[:length], name)


@given(st.text(max_size=128))
def test_search_keys_are_bounded(name: str) -> None:
    keys = search_keys(LOGIN, name)
    assert len(keys.words) <= MAX_WORDS
    assert all(len(word) <= MAX_QUERY_CHARS for word in keys.words)
    assert len(keys.prefixes) <= MAX_WORDS * len(PREFIX_LENGTHS)
    assert "\0" not in "".join(keys.words)
