"""Names are found by their prefixes, regardless of case, accents and script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_service.accounts.user_search import (
    MAX_QUERY_CHARS,
    MAX_WORDS,
    PREFIX_LENGTHS,
    UserQuery,
    fold_name,
    search_keys,
)

LOGIN = "someone.else"


def finds(query: str, display_name: str, login_name: str = LOGIN) -> bool:
    """Return True if the store would match: the prefix by equality, the rest by comparison with the words."""
    asked, keys = UserQuery.of(query), search_keys(login_name, display_name)
    return bool({*keys.prefixes} & {*asked.keys}) and any(word.startswith(asked.texts) for word in keys.words)


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
        ("o’bri", "O'Brien"),
        ("oʼbrien", "O’Brien"),
        ("obrien", "O'Brien"),
        ("jean‐l", "Jean-Luc"),
        ("明", "王小明"),
        ("小明", "王小明"),
        ("김", "김철수"),
        ("철수", "김철수"),
        ("ชาย", "สมชาย"),
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
    start = fold_name(name)
    words = search_keys(LOGIN, name).words
    assert fold_name(start) == start
    for word in words:
        assert finds(word[:length], name)


@pytest.mark.parametrize("name", ["कुमार", "O’Brien", "ŊŊala"])
def test_account_with_keys_of_earlier_version_is_found_by_its_name(name: str) -> None:
    keys_before = {"कुमार": "कमार", "O’Brien": "o’brien", "ŊŊala": "ŋŋala"}
    assert any(keys_before[name].startswith(text) for text in UserQuery.of(name).texts)
    assert set(UserQuery.of(name).keys) & {keys_before[name][:length] for length in PREFIX_LENGTHS}


@given(st.text(max_size=128))
def test_search_keys_are_bounded(name: str) -> None:
    keys = search_keys(LOGIN, name)
    assert len(keys.words) <= MAX_WORDS
    assert all(len(word) <= MAX_QUERY_CHARS for word in keys.words)
    assert len(keys.prefixes) <= MAX_WORDS * len(PREFIX_LENGTHS)
    assert "\0" not in "".join(keys.words)
