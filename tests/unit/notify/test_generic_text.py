"""The generic text of hidden content, by language."""

from __future__ import annotations

import pytest

from notify_service.model.generic_text import new_message


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "New message"),
        ("pt-BR", "Nova mensagem"),
        ("DE-at", "Neue Nachricht"),
        ("zh-Hans-CN", "新消息"),
        ("zh-Hant-HK", "新訊息"),
        ("zh-TW", "新訊息"),
        ("tlh", "New message"),
        ("", "New message"),
    ],
)
def test_longest_known_beginning_of_the_tag_decides(language: str, expected: str) -> None:
    assert new_message(language) == expected
