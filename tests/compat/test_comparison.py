"""The comparison accepts additions, and finds what is missing or different."""

from __future__ import annotations

import pytest

from parley.chat.v1 import chat_pb2, entry_pb2
from tests.compat.comparison import contains
from tests.raw.device import text


def entry(body: str, seq: int = 0, message_number: int = 0) -> entry_pb2.Entry:
    appended = entry_pb2.MessageAppended(content=text(body))
    return entry_pb2.Entry(seq=seq, message_number=message_number, message_appended=appended)


@pytest.mark.parametrize(
    ("today", "recorded"),
    [
        (entry("a", seq=1), entry("a", seq=1)),
        (entry("a", seq=1, message_number=7), entry("a", seq=1)),
        (chat_pb2.Entries(entries=[entry("a", seq=1)]), chat_pb2.Entries(entries=[entry("a")])),
        (entry("a"), entry_pb2.Entry()),
    ],
)
def test_addition_is_accepted(today: entry_pb2.Entry, recorded: entry_pb2.Entry) -> None:
    assert contains(today, recorded)


@pytest.mark.parametrize(
    ("today", "recorded"),
    [
        (entry("a"), entry("b")),
        (entry("a"), entry("a", seq=1)),
        (entry_pb2.Entry(), entry("a")),
        (chat_pb2.Entries(), chat_pb2.Entries(entries=[entry("a")])),
        (chat_pb2.Entries(entries=[entry("a"), entry("b")]), chat_pb2.Entries(entries=[entry("a")])),
        (chat_pb2.Changes(conversation_ids=["a"]), chat_pb2.Changes(conversation_ids=["b"])),
    ],
)
def test_difference_is_found(today: entry_pb2.Entry, recorded: entry_pb2.Entry) -> None:
    assert not contains(today, recorded)
