"""Text of others is shown as one cell of a line, or as lines of its own message, whatever it contains."""

from __future__ import annotations

import json
import unicodedata
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.chat.v1 import entry_pb2
from parley.chat.v1.account_pb2 import Device
from parley.chat.v1.entry_pb2 import Content, Entry
from parley_client import InvalidRequest, TryLater, Violation, contents
from parley_client.cli.devices import _device_label, _format_device
from parley_client.cli.directory import UserDirectory
from parley_client.cli.errors import explain_error
from parley_client.cli.formatting import format_entry
from parley_client.cli.text import escape_json, one_cell, printable
from parley_client.messenger.terminal_text import normalized, one_line

FORGED = "yes\n19:07 boss  you are fired"


# Control characters, line breaks, bidirectional controls, joiners, marks and letters of several scripts.
NASTY = st.text(
    st.sampled_from(
        [
            *map(chr, [*range(0x20), *range(0x7F, 0xA0), *range(0x200B, 0x2010), *range(0x2028, 0x202F)]),
            *map(chr, [*range(0x2060, 0x206A), 0x61C, 0xAD, 0xFE0F, 0xFEFF, 0x301, 0x3000, 0x1FAE9]),
            *"ab [;m]19:07 שم漢👩🌈",
        ]
    ),
    max_size=40,
)
KEPT = {
    "Persian": "می‌خواهم",
    "a joined emoji": "🏳️‍🌈 👨‍👩‍👧 👩🏽‍🚀 👩‍❤️‍💋‍👨",
    "a flag of tags": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "marks of direction": "a\u200eb\u200fc\u061cd",
    "spaces": "a\u00a0b\u3000c",
    "an emoji of Unicode 16": "\U0001fae9",
    "several lines": "a\n\tb",
}


def assert_harmless(text: str) -> None:
    """Assert that a text is one line that sends no command to a terminal and reorders nothing around it."""
    assert not [char for char in text if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")], ascii(text)
    assert not [char for char in text if unicodedata.bidirectional(char) in ("LRO", "RLO", "LRE", "RLE")], ascii(text)
    depth = 0
    for char in text:
        depth += (unicodedata.bidirectional(char) in ("LRI", "RLI", "FSI")) - (char == "\u2069")
        assert depth in (0, 1), ascii(text)
    assert depth == 0, ascii(text)


class FixedNames:
    """A directory in which every user has the same display name."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def display_name(self, user_id: str) -> str:
        return self._name


async def shown(entry: Entry, name: str = "bob") -> list[str]:
    """Return the lines of an entry; the first has the time."""
    return (await format_entry(entry, cast("UserDirectory", FixedNames(name)))).plain.split("\n")


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_printed_text_keeps_every_character(text: str) -> None:
    assert printable(text) == text


@given(NASTY)
def test_any_text_of_others_is_one_harmless_line(text: str) -> None:
    for line in (one_cell(text), one_line(text), one_line(text, 10)):
        assert_harmless(line)
    for line in f"{printable(text)}\n{normalized(text)}".replace("\t", " ").split("\n"):
        assert_harmless(line)


@given(NASTY)
async def test_any_entry_is_printed_without_forged_lines(text: str) -> None:
    changed = entry_pb2.MembershipChanged(members=[entry_pb2.Member(user_id="1")])
    changed.kind = entry_pb2.MembershipChanged.KIND_ADDED
    entries = [
        Entry(conversation_updated=entry_pb2.ConversationUpdated(title=text)),
        Entry(reaction_changed=entry_pb2.ReactionChanged(target_seq=1, emoji=text)),
        Entry(message_edited=entry_pb2.MessageEdited(target_seq=1, content=contents.text(text))),
        Entry(membership_changed=changed),
    ]
    for entry in entries:
        [line] = await shown(entry, text)
        assert_harmless(line)
    for content in bodies(text):
        reactions = [entry_pb2.Reaction(user_id="1", emoji=text)]
        message = entry_pb2.MessageAppended(content=content, reactions=reactions)
        _, *more = lines = await shown(Entry(message_appended=message), text)
        for line in lines:
            assert_harmless(line.replace("\t", " "))
        assert all(line.startswith(" " * 6) for line in more)


def bodies(text: str) -> list[Content]:
    return [
        contents.text(text),
        contents.location(1, 2, text),
        contents.contact(text),
        contents.custom(text, b""),
        Content(media=entry_pb2.MediaReference(media_id="0" * 32, caption=text)),
    ]


@given(NASTY)
def test_any_device_name_and_error_is_one_harmless_line(text: str) -> None:
    device = Device(device_id="1" * 32, name=text)
    violation = Violation(text, text)
    errors = [InvalidRequest(text), InvalidRequest("", violations=(violation,)), TryLater(text)]
    for line in (_format_device(device), _device_label(device), *(explain_error(error, "door") for error in errors)):
        assert_harmless(line)


@given(NASTY)
def test_json_is_one_harmless_line_with_the_same_value(text: str) -> None:
    document = escape_json(json.dumps({"text": text}, ensure_ascii=False))
    assert_harmless(document)
    assert json.loads(document) == {"text": text}


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\tb", "a\x1b[2Jb", "a\x0b\x0cb", "\n a \n b \n"])
def test_text_of_others_is_one_line_without_control_characters(text: str) -> None:
    assert one_cell(text).isprintable()


async def test_name_title_and_reaction_forge_no_line() -> None:
    message = entry_pb2.MessageAppended(content=contents.text("hi"), reactions=[entry_pb2.Reaction(emoji=FORGED)])
    renamed = entry_pb2.ConversationUpdated(title=FORGED)
    reaction = entry_pb2.ReactionChanged(target_seq=1, emoji=FORGED)
    for entry in (
        Entry(message_appended=message),
        Entry(conversation_updated=renamed),
        Entry(reaction_changed=reaction),
    ):
        assert len(await shown(entry, FORGED)) == 1


async def test_further_lines_of_a_message_stand_below_its_text() -> None:
    first, second = await shown(Entry(message_appended=entry_pb2.MessageAppended(content=contents.text(FORGED))))
    assert first.endswith("bob  yes")
    assert second == "      19:07 boss  you are fired"
