"""Texts that a reader takes for the same are found by each other, in messages and in names."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_service.accounts.user_search import UserQuery, search_keys
from chat_service.model.text_folding import fold
from chat_service.model.words import MessageQuery, extract_words

SAME = [
    ("Đà Nẵng", "da nang"),
    ("ĐIỆN BIÊN PHỦ", "dien bien phu"),
    ("Łódź", "lodz"),
    ("København", "kobenhavn"),
    ("Ærø", "aero"),
    ("cœur", "coeur"),
    ("ŒUVRE", "oeuvre"),
    ("Ħamrun", "hamrun"),
    ("góðan", "godan"),
    ("Þórshöfn", "thorshofn"),
    ("KAPI", "kapı"),
    ("İzmir", "izmir"),
    ("IĞDIR", "ığdır"),
    ("Straße", "STRASSE"),
    ("GROẞE", "grosse"),
    ("Ŧorne", "torne"),
    ("Ŋala", "ngala"),
    ("Ljubav ǈubav", "ljubav ljubav"),
    ("Gənclik", "genclik"),
    ("Ɓala Ƙano", "bala kano"),
    ("Français", "francais"),
    ("Āboliņš", "abolins"),
    ("ﬁancé", "fiance"),
    ("ｗｉｄｅ", "wide"),
    ("O'Brien", "O’Brien"),
    ("O'Brien", "Oʼbrien"),
    ("O'Brien", "O´Brien"),
    ("O'Brien", "O`Brien"),
    ("Hawaiʻi", "hawai'i"),
    ("об'єднання", "обʼєднання"),
    ("Jean-Luc", "Jean‐Luc"),
    ("Jean-Luc", "Jean‑Luc"),
    ("Rhein–Main", "rhein-main"),
    ("Donau\u00addampf", "donaudampf"),
    ("zero\u200bwidth", "zerowidth"),
    ("word\u2060joiner", "wordjoiner"),
    ("می\u200cخواهم", "میخواهم"),
    ("فارسی", "فارسي"),
    ("کتاب", "كتاب"),
    ("۱۲۳", "123"),
    ("٤٥٦", "456"),
    ("ΑΘΗΝΑ", "αθήνα"),
    ("ΟΔΟΣ", "οδος"),
    ("ЁЛКА", "елка"),
    ("ｶﾞｷ", "ガキ"),
    ("a\u0301e\u0308", "áë"),
    ("Amélie", "Ame\u0301lie"),
]
DIFFERENT = [
    ("Москва", "moskva"),
    ("Ρόδος", "rodos"),
    ("北京", "beijing"),
    ("서울", "seoul"),
    ("東京", "东京"),
    ("かき", "カキ"),
    ("हिन्दी", "हन्द"),
    ("раураl", "paypal"),
    ("ш", "щ"),
    ("Müller", "Mueller"),
]


def finds_message(query: str, text: str) -> bool:
    wanted, words = MessageQuery.of(query), extract_words(text)
    assert wanted, "a query without words finds nothing"
    return set(wanted.words) <= set(words) and all(
        any(word.startswith(prefix) for word in words) for prefix in wanted.prefixes
    )


def finds_name(query: str, name: str) -> bool:
    wanted, keys = UserQuery.of(query), search_keys("login", name)
    return bool({*wanted.keys} & {*keys.prefixes}) and any(word.startswith(wanted.texts) for word in keys.words)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_texts_that_look_the_same_find_each_other(one: str, other: str) -> None:
    for query, text in ((one, other), (other, one)):
        assert finds_message(query, f"before {text} after")
        assert finds_name(query, f"Ms {text}")


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_texts_that_look_different_do_not_find_each_other(one: str, other: str) -> None:
    assert not finds_message(one, other)
    assert not finds_message(other, one)
    assert not finds_name(one, other)
    assert not finds_name(other, one)


@given(st.text(max_size=60))
def test_folded_text_folds_to_itself(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_letters_of_european_alphabets_fold_to_ascii() -> None:
    """The blocks Latin-1 Supplement and Latin Extended-A."""
    letters = [chr(code) for code in range(0xC0, 0x180) if chr(code) not in "×÷"]
    assert [letter for letter in letters if not fold(letter).strip("·'").encode().isalpha()] == []


def test_letters_of_other_scripts_stay_in_their_script() -> None:
    for code in range(0x370, 0x10000):
        letter = chr(code)
        script = unicodedata.name(letter, "").partition(" ")[0]
        if script in {"GREEK", "CYRILLIC", "HEBREW", "ARABIC", "DEVANAGARI", "THAI", "HANGUL", "HIRAGANA", "CJK"}:
            assert not any("a" <= each <= "z" for each in fold(letter)) or not letter.isalpha(), letter
