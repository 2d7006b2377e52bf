"""A view of a running system's entries is the same on every device, regardless of when it was connected."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone

import pytest

from parley.chat.v1 import chat_pb2, entry_pb2
from parley_client import ConversationChecked, ConversationView, contents
from parley_client.events import PersonalSettings
from tests.scenarios.sdk.people import Pair, People

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]


async def test_offline_device_ends_with_same_view(people: People, pair: Pair) -> None:
    alice, bob, chat = pair.alice, pair.bob, pair.chat
    there = await people.device(alice)
    present = ConversationView(chat, there.user_id)
    sent = [await bob.messages.send(chat, f"word {n}") for n in range(6)]
    await bob.messages.edit(chat, sent[0].seq, "edited")
    await bob.messages.edit(chat, sent[0].seq, "edited twice")
    await alice.messages.set_reaction(chat, sent[1].seq, "👍")
    await bob.messages.set_reaction(chat, sent[1].seq, "❤")
    await alice.messages.set_reaction(chat, sent[1].seq, "")
    assert await bob.messages.delete(chat, sent[2].seq, for_all=True)
    assert await alice.messages.delete(chat, sent[3].seq, for_all=False) is None
    head = (await alice.conversations.get(chat)).head_seq
    late = await people.device(await people.client("alice"))
    absent = ConversationView(chat, late.user_id)
    for device, view in ((there, present), (late, absent)):
        async for event in device:
            view.apply(event)
            if isinstance(event, ConversationChecked) and event.hidden_seqs and view.head_seq == head:
                break
    assert present.timeline == absent.timeline
    assert [each.text for each in present.messages] == ["edited twice", "word 1", "", "word 4", "word 5"]


async def test_own_messages_are_never_unread(people: People, pair: Pair) -> None:
    writing = await people.device(pair.alice)
    reading = await people.client("alice")
    for first in range(0, 12, 3):
        sends = asyncio.gather(*(writing.send(pair.chat, f"word {first + number}") for number in range(3)))
        # It fetches the conversation while the messages are appended.
        async with reading.connect() as opened:
            await sends
            for device in (writing, opened):
                view = ConversationView(pair.chat, device.user_id)
                async for event in device:
                    view.apply(event)
                    assert view.unread_count == 0
                    if view.head_seq == first + 4:
                        break


async def test_readded_member_keeps_seen_messages_and_misses_the_gap(people: People, pair: Pair) -> None:
    alice, bob, her = pair.alice, pair.bob, pair.bob_id
    group = (await alice.conversations.create_group("Friday", [her])).conversation_id
    device = await people.device(bob)
    view = ConversationView(group, device.user_id)
    await alice.messages.send(group, "one")
    await alice.conversations.remove_member(group, her)
    await alice.messages.send(group, "behind his back")

    async def is_former_at(seq: int) -> bool:
        async for event in device:
            if view.apply(event) and device.last_seq(group) >= seq and view.head_seq >= seq:
                break
        return view.is_former_member

    assert await is_former_at(4)
    await alice.conversations.add_members(group, [her])
    await alice.messages.send(group, "welcome back")
    assert not await is_former_at(7)
    assert [each.text for each in view.messages] == ["one", "welcome back"]
    assert [line.seq for line in view.timeline] == [1, 2, 3, 4, 6, 7]


async def test_conversation_settings_reach_other_devices(people: People, pair: Pair) -> None:
    alice, chat = pair.alice, pair.chat
    device = await people.device(await people.client("alice"))
    view = ConversationView(chat, device.user_id)
    until = datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    await alice.conversations.pin(chat)
    await alice.conversations.archive(chat)
    await alice.conversations.mute(chat, until)
    async for event in device:
        view.apply(event)
        if view.settings.mute_until:
            break
    assert view.settings == PersonalSettings(until, True, True)
    await alice.conversations.mute(chat, None)
    assert not (await alice.conversations.get(chat)).HasField("mute_until_time")


@pytest.mark.parametrize(
    "content",
    [
        contents.location(48.2, 16.37, "Wien"),
        contents.contact("Bob", user_id="b" * 32, vcard="BEGIN:VCARD"),
        contents.custom("application/x-poll", b"\0\1"),
    ],
    ids=["location", "contact", "custom"],
)
async def test_non_text_contents_arrive_unchanged(pair: Pair, content: entry_pb2.Content) -> None:
    alice, chat = pair.alice, pair.chat
    first = await alice.messages.send(chat, "first")
    sent = await alice.messages.send(chat, content, reply_to_seq=first.seq)
    answer = await alice.messages.list_entries([chat_pb2.EntryRange(conversation_id=chat, after_seq=sent.seq - 1)])
    assert answer.entries[0].message_appended.content == contents.reply(content, first.seq)
