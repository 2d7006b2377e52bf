"""The owner checks the message that a send replies to, and drops the mentions of users who are not members."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chat_service.errors import MessageNotFound
from chat_service.limits import Limits
from chat_service.model.entry import Draft, Message, MessageDeleted, MessageEdited
from chat_service.owner import owned_conversation
from chat_service.owner.conversation_loader import TAIL_ENTRIES
from chat_service.wire.contents import decode_references, encode_content
from parley.chat.v1.entry_pb2 import Content, Mention, Text
from servicekit.mongo import Database
from tests.integration.chat.conftest import ALICE, BOB, CAROL, Owners, RunningOwner, draft, seq_of
from tests.integration.chat.test_changes import added, change, group, log_of, removed

pytestmark = pytest.mark.integration


def content(reply_to_seq: int = 0, *mentioned: str) -> Content:
    mentions = [Mention(user_id=user, offset=index, length=1) for index, user in enumerate(mentioned)]
    return Content(text=Text(body="@" * 10, mentions=mentions), reply_to_seq=reply_to_seq)


def send(conversation_id: str, sender: str, reply_to_seq: int = 0, *mentioned: str) -> Draft:
    sent = content(reply_to_seq, *mentioned)
    change = Message(encode_content(sent, Limits()))
    return replace(draft(conversation_id, sender), change=change, references=decode_references(sent))


def edit(conversation_id: str, seq: int, reply_to_seq: int = 0, *mentioned: str) -> Draft:
    sent = content(reply_to_seq, *mentioned)
    edited = change(conversation_id, MessageEdited(seq, encode_content(sent, Limits())))
    return replace(edited, references=decode_references(sent))


def mentioned(changed: object) -> list[str]:
    assert isinstance(changed, Message | MessageEdited)
    return [mention.user_id for mention in Content.FromString(changed.content).text.mentions]


async def talk(running: RunningOwner) -> str:
    """Say 3, add carol by 4, say 5, remove her by 6, say 7, add her again by 8, and say 9."""
    conversation_id = await group(running)
    for step in (added(CAROL), removed(CAROL), added(CAROL)):
        seq_of(await running.append(draft(conversation_id, BOB)))
        seq_of(await running.append(change(conversation_id, step)))
    assert seq_of(await running.append(draft(conversation_id, BOB))) == 9
    return conversation_id


@pytest.mark.parametrize("remembered", [True, False], ids=["remembered", "read from the log"])
async def test_reply_must_name_a_message_that_its_sender_can_see(
    owners: Owners, remembered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not remembered:
        monkeypatch.setattr(owned_conversation, "MAX_REMEMBERED", 1)
    running = await owners.start()
    conversation_id = await talk(running)
    for seq in (1, 2, 3, 4, 6, 7, 8, 9999, 2**62):
        answer = await running.append(send(conversation_id, CAROL, seq))
        assert isinstance(answer, MessageNotFound), seq
    assert [seq_of(await running.append(send(conversation_id, CAROL, seq))) for seq in (5, 9, 10)] == [10, 11, 12]
    assert [seq_of(await running.append(send(conversation_id, BOB, seq))) for seq in (3, 5, 7)] == [13, 14, 15]


async def test_reply_to_a_message_older_than_the_owner_remembers_is_appended(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await talk(running)
    for _ in range(TAIL_ENTRIES):
        seq_of(await running.append(draft(conversation_id)))
    last = 9 + TAIL_ENTRIES
    for successor in (await owners.start(), await owners.start()):
        assert isinstance(await successor.append(send(conversation_id, BOB, 4)), MessageNotFound)
        last += 1
        assert seq_of(await successor.append(send(conversation_id, BOB, 3))) == last


async def test_reply_reaches_an_owner_that_lacks_the_newest_entries(owners: Owners) -> None:
    stale, other = await owners.start(), await owners.start()
    conversation_id = await talk(stale)
    assert seq_of(await other.append(draft(conversation_id, ALICE))) == 10
    assert seq_of(await stale.append(send(conversation_id, BOB, 10))) == 11


async def test_deleted_message_can_be_replied_to(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await talk(running)
    seq_of(await running.append(change(conversation_id, MessageDeleted(9))))
    assert seq_of(await running.append(send(conversation_id, BOB, 9))) == 11


async def test_edit_cannot_make_a_message_reply_to_itself_or_a_later_one(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await talk(running)
    assert seq_of(await running.append(send(conversation_id, ALICE))) == 10
    assert seq_of(await running.append(draft(conversation_id, BOB))) == 11
    for seq in (10, 11, 12, 8):
        assert isinstance(await running.append(edit(conversation_id, 10, seq)), MessageNotFound)
    assert seq_of(await running.append(edit(conversation_id, 10, 9))) == 12


async def test_mentions_of_users_who_are_not_members_are_dropped(owners: Owners, database: Database) -> None:
    running = await owners.start()
    conversation_id = await group(running)
    stranger = "d" * 32
    seq_of(await running.append(send(conversation_id, ALICE, 0, BOB, stranger, ALICE, CAROL)))
    seq_of(await running.append(edit(conversation_id, 3, 0, CAROL, BOB)))
    seq_of(await running.append(change(conversation_id, removed(BOB))))
    first = send(conversation_id, ALICE, 0, BOB)
    assert seq_of(await running.append(first)) == 6
    assert seq_of(await running.append(first)) == 6, "a retry is recognised by what was sent"
    log = await log_of(database, conversation_id)
    assert mentioned(log[3].change) == [BOB]
    assert mentioned(log[5].change) == []
    assert [mentioned(each.change) for each in running.publisher.entries if each.seq == 3] == [[BOB, ALICE]]
