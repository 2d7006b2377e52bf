"""Names, titles and reactions of others are shown as one cell of a line, whatever they contain."""

from __future__ import annotations

from typing import cast

import pytest

from parley.chat.v1 import entry_pb2
from parley.chat.v1.entry_pb2 import Entry
from parley_client import contents
from parley_client.cli.directory import UserDirectory
from parley_client.cli.formatting import format_entry, one_cell

FORGED = "yes\n19:07 boss  you are fired"


class FixedNames:
    """A directory in which every user has the same display name."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def display_name(self, user_id: str) -> str:
        return self._name


async def shown(entry: Entry, name: str = "bob") -> list[str]:
    """Return the lines of an entry; the first has the time."""
    return (await format_entry(entry, cast("UserDirectory", FixedNames(name)))).plain.split("\n")


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
