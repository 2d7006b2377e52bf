"""The words of a text in every script, and the prefixes of a query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_service.model.words import MAX_WORD_CHARS, MAX_WORDS, MessageQuery, extract_words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello, hello WORLD!", ["hello", "world"]),
        ("don't re-read snake_case", ["don", "t", "re", "read", "snake", "case"]),
        ("Crème Brûlée, Straße", ["creme", "brulee", "strasse"]),
        ("ﬁne １２３ ①", ["fine", "123", "1"]),
        ("Ещё Йод", ["еще", "иод"]),
        ("Ἀθήνα ΑΘΗΝΑΣ", ["αθηνα", "αθηνασ"]),
        ("İstanbul", ["istanbul"]),
        ("שָׁלוֹם", ["שלום"]),
        ("مـــرحبًا", ["مرحبا"]),
        ("हिन्दी", ["हिन्दी"]),
        ("soft\u00adhyphen", ["softhyphen"]),
        ("О\u02bcБрайен обʼєднання", ["о", "браиен", "об", "єднання"]),
        ("١٢٣ ۱۲۳ １２３", ["123"]),
        ("北京大学", ["北京", "京大", "大学", "学"]),
        ("我", ["我"]),
        ("ｶﾞｷ カキ", ["ガキ", "キ", "カキ"]),
        ("iPhone是什么", ["iphone", "是什", "什么", "么"]),
        ("กำลัง", ["ก\u0e4dา", "าลั", "ลัง", "ง"]),
        ("서울", ["서울", "울"]),
        ("👍 !!! …", []),
        ("", []),
    ],
)
def test_words_of_text_are_extracted(text: str, found: list[str]) -> None:
    assert extract_words(text) == found


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("red door", MessageQuery(("red",), ("door",))),
        ("red door ", MessageQuery(("red", "door"))),
        ("red do", MessageQuery(("red", "do"))),
        ("Brûl", MessageQuery((), ("brul",))),
        ("door!", MessageQuery(("door",))),
        ("京", MessageQuery((), ("京",))),
        ("京 door ", MessageQuery(("door",), ("京",))),
        ("北京", MessageQuery(("北京",))),
        ("北京大学", MessageQuery(("北京", "京大", "大学"))),
        ("👍", MessageQuery(())),
    ],
)
def test_query_is_split_into_words_and_prefixes(text: str, query: MessageQuery) -> None:
    assert MessageQuery.of(text) == query
    assert bool(query) is (text != "👍")


def test_query_also_finds_messages_indexed_by_earlier_versions() -> None:
    assert MessageQuery.alternatives("Đà Nẵng ") == (MessageQuery(("da", "nang")), MessageQuery(("đa", "nang")))
    assert MessageQuery.alternatives("Crème brûlée ") == (MessageQuery(("creme", "brulee")),)


def test_long_texts_and_words_are_bounded() -> None:
    assert extract_words("x" * 100) == ["x" * MAX_WORD_CHARS]
    assert MessageQuery.of("x" * 100) == MessageQuery((), ("x" * MAX_WORD_CHARS,))
    assert extract_words(" ".join(map(str, range(1000)))) == [str(number) for number in range(MAX_WORDS)]
    assert len(extract_words("".join(chr(0x4E00 + number) for number in range(2000)))) == MAX_WORDS


@given(st.text(max_size=60))
def test_every_text_is_found_by_itself(text: str) -> None:
    found, query = extract_words(text), MessageQuery.of(text)
    assert len(found) == len(set(found))
    assert set(query.words) <= set(found)
    assert all(any(word.startswith(prefix) for word in found) for prefix in query.prefixes)


@given(st.text(max_size=60))
def test_text_is_found_by_each_of_its_words(text: str) -> None:
    found = extract_words(text)
    for word in text.split():
        query = MessageQuery.of(word)
        assert set(query.words) <= set(found)
        assert all(any(each.startswith(prefix) for each in found) for prefix in query.prefixes)


@given(st.text(min_size=1, max_size=60))
def test_words_are_independent_of_case(text: str) -> None:
    assert extract_words(text.upper().lower()) == extract_words(text.upper())
