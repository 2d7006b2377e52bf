"""The pure parts of the directory: intervals, and the media of a content."""

from __future__ import annotations

import pytest

from chat_service.history.message_search import SearchScope
from chat_service.model.conversation import Interval
from chat_service.model.entry import LAST_SEQ
from chat_service.wire.directory import encode_interval
from chat_service.wire.entries import extract_media
from parley.chat.v1 import entry_pb2
from parley.internal.v1 import directory_pb2

FILE = "ca" * 16


@pytest.mark.parametrize(
    ("content", "media_id"),
    [
        (entry_pb2.Content(media=entry_pb2.MediaReference(media_id=FILE, caption="cat")), FILE),
        (entry_pb2.Content(text=entry_pb2.Text(body=FILE)), ""),
        (entry_pb2.Content(custom=entry_pb2.CustomPayload(content_type="a/b", payload=bytes.fromhex(FILE))), ""),
        (entry_pb2.Content(), ""),
    ],
    ids=["media", "text", "custom", "none"],
)
def test_only_a_media_reference_has_media(content: entry_pb2.Content, media_id: str) -> None:
    assert extract_media(content.SerializeToString()) == media_id


def test_interval_of_a_present_member_is_open() -> None:
    assert encode_interval(Interval(3, 7)) == directory_pb2.SeqInterval(first_seq=3, last_seq=7)
    assert encode_interval(Interval(8, LAST_SEQ)) == directory_pb2.SeqInterval(first_seq=8)


@pytest.mark.parametrize(
    ("visible", "invisible"),
    [
        ((), [(1, LAST_SEQ)]),
        (((1, LAST_SEQ),), []),
        (((3, 5), (9, LAST_SEQ)), [(1, 2), (6, 8)]),
        (((1, 5), (6, 8)), [(9, LAST_SEQ)]),
    ],
)
def test_invisible_intervals_complete_the_visible_ones(
    visible: tuple[tuple[int, int], ...], invisible: list[tuple[int, int]]
) -> None:
    scope = SearchScope("c" * 32, tuple(Interval(*each) for each in visible))
    assert [(each.first, each.last) for each in scope.invisible_intervals()] == invisible
