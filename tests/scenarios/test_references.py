"""Mentions and replies of messages, edits and forwards are checked: inside the text, by members, to what is seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from devstack.services import CHAT
from devstack.stack import Stack
from parley.chat.v1 import chat_pb2, conversation_pb2, entry_pb2
from tests.raw.device import RawDevice, new_id, text
from tests.raw.world import World
from tests.scenarios.test_groups import add

pytestmark = pytest.mark.scenario

INVALID = ("INVALID_ARGUMENT", "FIELD_INVALID")
NOT_FOUND = ("NOT_FOUND", "MESSAGE_NOT_FOUND")
BODY = "😀 @bob and @carol"
MAX = 2**31 - 1


def mentioning(*mentions: tuple[RawDevice, int, int], body: str = BODY, forwarded: bool = False) -> entry_pb2.Content:
    return entry_pb2.Content(
        text=entry_pb2.Text(
            body=body,
            mentions=[
                entry_pb2.Mention(user_id=who.user_id, offset=offset, length=length) for who, offset, length in mentions
            ],
        ),
        forwarded=forwarded,
    )


def edit(group: str, seq: int, content: entry_pb2.Content) -> chat_pb2.EditMessageRequest:
    return chat_pb2.EditMessageRequest(request_id=new_id(), conversation_id=group, target_seq=seq, content=content)


def send(group: str, content: entry_pb2.Content) -> chat_pb2.SendMessageRequest:
    return chat_pb2.SendMessageRequest(client_message_id=new_id(), conversation_id=group, content=content)


@pytest.mark.parametrize(
    ("spans", "refused"),
    [
        ([(2, 4)], None),
        ([(0, len(BODY))], None),
        ([(2, 4), (11, 6)], None),
        ([(11, 6), (2, 4)], None),
        ([(2, 2), (4, 2)], None),
        ([(len(BODY) - 1, 2)], 0),
        ([(len(BODY), 1)], 0),
        ([(1000, 3)], 0),
        ([(MAX, MAX)], 0),
        ([(0, MAX)], 0),
        ([(2, 4), (2, 4)], 1),
        ([(2, 4), (5, 1)], 1),
        ([(5, 4), (2, 4)], 0),
        ([(2, 4), (18, 1)], 1),
    ],
)
async def test_mentions_lie_within_the_text_and_do_not_overlap(
    world: World, spans: list[tuple[int, int]], refused: int | None
) -> None:
    alice, bob = await world.users("alice", "bob")
    await alice.connect()
    group = await alice.group("Lunch", [bob])
    first = await alice.sent(group, "first")
    for forwarded in (False, True):
        content = mentioning(*((bob, *span) for span in spans), forwarded=forwarded)
        if refused is None:
            await alice.sent(group, content)
            await alice.call(send(group, content))
            await alice.call(edit(group, first, content))
            continue
        field = f"content.text.mentions[{refused}]"
        streamed = await alice.refused(group, content)
        assert (streamed.code_and_reason, streamed.fields) == (INVALID, (f"send_message.{field}",))
        for request in (send(group, content), edit(group, first, content)):
            refusal = await alice.refusal(request)
            assert (refusal.code_and_reason, refusal.fields) == (INVALID, (field,))


async def test_only_members_are_mentioned_wherever_the_owner_is(world: World) -> None:
    for server in world.servers:
        alice, bob, stranger = await world.users("alice", "bob", "stranger")
        await alice.connect(home=server)
        await bob.connect()
        group = await alice.group("Lunch", [bob])
        content = mentioning((bob, 2, 4), (stranger, 11, 6))
        seqs = [await alice.sent(group, content)]
        seqs.append((await alice.call(send(group, content), at=server)).appended.seq)
        first = await alice.sent(group, "first")
        await alice.call(edit(group, first, content), at=server)
        listed = await bob.call(chat_pb2.ListMessagesRequest(conversation_id=group))
        for message in listed.messages:
            shown = message.message_appended.content.text
            assert [each.user_id for each in shown.mentions] == [bob.user_id]
            assert shown.body == BODY
        assert sorted(each.seq for each in listed.messages) == [*seqs, first]


async def test_reply_names_a_message_that_its_sender_can_see(world: World) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    for device in (alice, carol):
        await device.connect()
    group = await alice.group("Lunch", [bob])
    before = await alice.sent(group, "before carol")
    await alice.call(add(group, carol))
    seen = await alice.sent(group, "hello carol")
    for server in world.servers:
        for seq in (1, before, seen - 1, 9999):
            reply = entry_pb2.Content(text=entry_pb2.Text(body="?"), reply_to_seq=seq)
            assert (await carol.refused(group, reply)).code_and_reason == NOT_FOUND
            assert (await carol.refusal(send(group, reply), at=server)).code_and_reason == NOT_FOUND
        reply = entry_pb2.Content(text=entry_pb2.Text(body="hi"), reply_to_seq=seen)
        sent = await carol.sent(group, reply)
        assert (await carol.refusal(edit(group, sent, with_reply(sent)))).code_and_reason == NOT_FOUND
        await carol.call(edit(group, sent, with_reply(seen)))
    assert await carol.sent(group, "a refused reply holds up nothing") > seen


def with_reply(seq: int) -> entry_pb2.Content:
    content = text("edited")
    content.reply_to_seq = seq
    return content


async def test_repeated_changes_append_nothing(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    await alice.connect()
    group = await alice.group("Lunch", [bob])
    seq = await alice.sent(group, "news")
    key: dict[str, Any] = {"conversation_id": group, "target_seq": seq}
    for make in (
        lambda: chat_pb2.SetReactionRequest(request_id=new_id(), emoji="👩🏽‍❤️‍💋‍👨🏿", **key),
        lambda: chat_pb2.SetReactionRequest(request_id=new_id(), **key),
        lambda: edit(group, seq, text("old news")),
        lambda: conversation_pb2.UpdateConversationRequest(request_id=new_id(), conversation_id=group, title="Tea"),
        lambda: chat_pb2.DeleteMessageRequest(request_id=new_id(), for_all=True, **key),
    ):
        await alice.call(make())
        shown = conversation_pb2.GetConversationRequest(conversation_id=group)
        head = (await alice.call(shown)).conversation.head_seq
        for _ in range(2):
            answer = await alice.call(make())
            assert "appended" not in answer.DESCRIPTOR.fields_by_name or answer.appended.seq == 0
        assert (await alice.call(shown)).conversation.head_seq == head


@pytest.fixture(scope="module")
def permissive_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system that allows any text as a reaction."""
    environment = {"PARLEY_TEXT_REACTIONS": "true"}
    with Stack(
        tmp_path_factory.mktemp("permissive_stack"), chat_servers=1, services=(CHAT,), environment=environment
    ) as stack:
        yield stack


async def test_setting_allows_any_visible_text_as_a_reaction(permissive_stack: Stack) -> None:
    async with World(permissive_stack) as world:
        alice, bob = await world.users("alice", "bob")
        await alice.connect()
        group = await alice.group("Lunch", [bob])
        key: dict[str, Any] = {"conversation_id": group, "target_seq": await alice.sent(group, "news")}
        for reaction in (":shipit:", "👍"):
            await alice.call(chat_pb2.SetReactionRequest(request_id=new_id(), emoji=reaction, **key))
        for reaction in ("\u200b", "a" * 65):
            request = chat_pb2.SetReactionRequest(request_id=new_id(), emoji=reaction, **key)
            assert (await alice.refusal(request)).code_and_reason == INVALID


@pytest.mark.parametrize("reaction", ["ok", "1", "👍👍", "\u200b", "👍" * 17])
async def test_reaction_that_is_no_emoji_is_refused(world: World, reaction: str) -> None:
    alice, bob = await world.users("alice", "bob")
    await alice.connect()
    group = await alice.group("Lunch", [bob])
    seq = await alice.sent(group, "news")
    refusal = await alice.refusal(
        chat_pb2.SetReactionRequest(request_id=new_id(), conversation_id=group, target_seq=seq, emoji=reaction)
    )
    assert (refusal.code_and_reason, refusal.fields) == (INVALID, ("emoji",))
