"""A reaction is one emoji of Unicode, in the forms that keyboards send."""

from __future__ import annotations

import pytest
from emoji import EMOJI_DATA

from chat_service.model.reactions import is_emoji, is_same_reaction
from parley.chat.v1 import chat_pb2
from servicekit import validation

EMOJI = [
    "👍",
    "👍🏿",
    "👍\ufe0f",
    "❤",
    "❤\ufe0f",
    "❤\ufe0e",
    "☺️",
    "©",
    "1️⃣",
    "1⃣",
    "#️⃣",
    "*️⃣",
    "🇩🇪",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "👨‍👩‍👧‍👦",
    "👩🏽‍❤️‍💋‍👨🏿",
    "👩🏽‍❤‍💋‍👨🏿",
    "🏳️‍🌈",
    "🏳‍🌈",
    "🏳️‍⚧️",
    "❤️‍🔥",
    "🧑🏻‍🤝‍🧑🏿",
    "👁️‍🗨️",
    "🦰",
    "🏻",
    "🫪",
]
NO_EMOJI = [
    "a",
    "ok",
    "1",
    "#",
    "lol 👍",
    "👍👍",
    "👍 ",
    "\u200d",
    "\ufe0f",
    "\ufe0f👍",
    "❤\ufe0f\ufe0f",
    "👍\u200d",
    "🇩",
    "🇩🇩",
    "→→",
    ":+1:",
    "<b>",
    "ф",
    "中",
    "👍\u202e",
]


@pytest.mark.parametrize("emoji", EMOJI)
def test_emoji_is_a_reaction(emoji: str) -> None:
    assert is_emoji(emoji)


@pytest.mark.parametrize("text", NO_EMOJI, ids=ascii)
def test_text_that_is_no_emoji_is_no_reaction(text: str) -> None:
    assert not is_emoji(text)


def test_every_emoji_of_unicode_is_a_reaction_with_and_without_selectors() -> None:
    for emoji in EMOJI_DATA:
        for form in (emoji, emoji.replace("\ufe0f", ""), emoji.replace("\ufe0f", "\ufe0e")):
            assert is_emoji(form), form
            validation.check(
                chat_pb2.SetReactionRequest(
                    request_id="01933333-3333-7333-8333-333333333333",
                    conversation_id="a" * 32,
                    target_seq=1,
                    emoji=form,
                )
            )


def test_reactions_that_differ_in_selectors_are_the_same() -> None:
    assert is_same_reaction("❤", "❤\ufe0f")
    assert is_same_reaction("", "")
    assert not is_same_reaction("", "❤")
    assert not is_same_reaction("👍", "👍🏿")
