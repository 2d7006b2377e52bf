"""Cutting texts: length, whole characters, and the longest cut that fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify_service.model.text_cut import cut, cut_to_fit

FAMILY = "👨‍👩‍👧"
THUMB = "👍🏽"
GERMANY, FRANCE = "🇩🇪", "🇫🇷"
ENGLAND = "🏴󠁧󠁢󠁥󠁮󠁧󠁿"
E_ACUTE = "e\u0301"
HEART = "❤\ufe0f"
KA = "क्षि"


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("two words", 5, "two…"),
        ("", 3, ""),
        ("text", 0, ""),
        ("text", 1, "…"),
        (f"ab{E_ACUTE}cd", 4, "ab…"),
        (f"a{FAMILY}b", 4, "a…"),
        (f"a{FAMILY}bc", 7, f"a{FAMILY}…"),
        (f"a{THUMB}bcd", 3, "a…"),
        (f"a{HEART}bcd", 3, "a…"),
        (f"{GERMANY}{FRANCE}ab", 4, f"{GERMANY}…"),
        (f"{GERMANY}{FRANCE}ab", 5, f"{GERMANY}{FRANCE}…"),
        (f"a{ENGLAND}bcd", 5, "a…"),
        (f"{FAMILY}{FAMILY}", 4, "…"),
    ],
)
def test_cut_keeps_characters_whole(text: str, length: int, expected: str) -> None:
    assert cut(text, length) == expected


@given(
    text=st.lists(
        st.sampled_from([*"ab ", FAMILY, THUMB, GERMANY, E_ACUTE, HEART, KA, "\u200d", "\u0301"]), max_size=40
    ).map("".join),
    length=st.integers(0, 50),
)
def test_cut_is_a_beginning_within_the_length(text: str, length: int) -> None:
    shortened = cut(text, length)
    assert len(shortened) <= length
    assert text.startswith(shortened.removesuffix("…"))
    assert (shortened == text) or not length or shortened.endswith("…")


@given(text=st.text(max_size=200), size=st.integers(0, 300))
def test_longest_cut_that_fits_is_found(text: str, size: int) -> None:
    def fits(candidate: str) -> bool:
        return len(candidate.encode()) <= size

    longest = cut_to_fit(text, fits)
    assert fits(longest)
    assert not any(fits(cut(text, length)) for length in range(len(text) + 1) if len(cut(text, length)) > len(longest))
