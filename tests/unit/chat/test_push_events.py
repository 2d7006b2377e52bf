"""Events of the queue of pushes: large entries are queued without what no notification shows."""

from __future__ import annotations

from typing import Any

import pytest

from chat_service.model.delivery import DeliveredEntry, Delivery
from chat_service.wire.push import encode_entries
from parley.chat.v1.entry_pb2 import (
    ContactCard,
    Content,
    CustomPayload,
    Entry,
    Mention,
    MessageAppended,
    MessageEdited,
    Text,
)
from parley.internal.v1.notify_pb2 import QueuedPush

ALICE, BOB, GROUP = "a" * 32, "b" * 32, "c" * 32
SMALL = 4096


def queued(**kind: Any) -> tuple[Entry, int]:
    """Return an entry as it is queued, and the size of the event."""
    entry = Entry(conversation_id=GROUP, seq=5, actor_id=ALICE, **kind)
    delivery = Delivery(entries=(DeliveredEntry(entry.SerializeToString(), ALICE, b""),))
    event = encode_entries([BOB], GROUP, delivery, 7)
    [found] = QueuedPush.FromString(event).entries.entries
    return found, len(event)


def queued_content(**content: Any) -> tuple[Content, int]:
    found, size = queued(message_appended=MessageAppended(content=Content(reply_to_seq=3, **content)))
    assert (found.seq, found.actor_id, found.message_appended.content.reply_to_seq) == (5, ALICE, 3)
    return found.message_appended.content, size


def test_long_text_is_queued_with_its_beginning_and_its_mentions() -> None:
    mention = Mention(user_id=BOB, length=1)
    content, size = queued_content(text=Text(body="word  " * 2700, mentions=[mention]))
    assert size < SMALL
    assert content.text.body == ("word " * 100)
    assert list(content.text.mentions) == [mention]


@pytest.mark.parametrize(("body", "expected"), [(" " * 16_000 + "late", "late"), (" " * 16_000, " ")])
def test_long_text_stays_a_text(body: str, expected: str) -> None:
    assert queued_content(text=Text(body=body))[0].text.body == expected


def test_large_payload_and_vcard_are_not_queued() -> None:
    custom, size = queued_content(custom=CustomPayload(content_type="x/y", payload=bytes(65_536)))
    assert (custom.custom, size < SMALL) == (CustomPayload(content_type="x/y"), True)
    contact, _ = queued_content(contact_card=ContactCard(display_name="Eve", vcard="v" * 4096))
    assert contact.contact_card == ContactCard(display_name="Eve")


def test_large_edit_is_queued_without_its_content() -> None:
    edit = MessageEdited(target_seq=4, content=Content(text=Text(body="x" * 16_000)))
    found, size = queued(message_edited=edit)
    assert (found.message_edited, size < SMALL) == (MessageEdited(target_seq=4), True)


def test_small_entry_is_queued_as_it_is() -> None:
    text = Text(body="two  spaces " * 50)
    assert queued_content(text=text)[0] == Content(reply_to_seq=3, text=text)
