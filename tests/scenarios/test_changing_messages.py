"""Messages edited, deleted and reacted to: everybody ends with the same, whether there or away meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from parley.chat.v1 import chat_pb2, entry_pb2
from tests.raw.device import RawDevice, new_id, text
from tests.raw.world import World
from tests.scenarios.test_groups import add, remove

pytestmark = pytest.mark.scenario

NOT_FOUND = ("NOT_FOUND", "MESSAGE_NOT_FOUND")
FORBIDDEN = ("PERMISSION_DENIED", "ROLE_INSUFFICIENT")


@dataclass
class Play:
    """Alice and bob, with two devices each, in a group with carol, who is its admin."""

    alice: RawDevice
    alices_laptop: RawDevice
    bob: RawDevice
    carol: RawDevice
    group: str

    @property
    def all(self) -> list[RawDevice]:
        return [self.alice, self.alices_laptop, self.bob, self.carol]


@pytest.fixture
async def play(world: World) -> Play:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    laptop = await world.another(alice)
    group = await carol.group("Weather", [alice, bob])
    for device in (alice, laptop, bob, carol):
        await device.attend()
    return Play(alice, laptop, bob, carol, group)


def edit(group: str, seq: int, body: str, request_id: str = "") -> chat_pb2.EditMessageRequest:
    return chat_pb2.EditMessageRequest(
        request_id=request_id or new_id(), conversation_id=group, target_seq=seq, content=text(body)
    )


def delete(group: str, seq: int, *, for_all: bool = True) -> chat_pb2.DeleteMessageRequest:
    return chat_pb2.DeleteMessageRequest(request_id=new_id(), conversation_id=group, target_seq=seq, for_all=for_all)


def react(group: str, seq: int, emoji: str) -> chat_pb2.SetReactionRequest:
    return chat_pb2.SetReactionRequest(request_id=new_id(), conversation_id=group, target_seq=seq, emoji=emoji)


async def shown(device: RawDevice, group: str) -> dict[int, entry_pb2.MessageAppended]:
    listed = await device.ask(chat_pb2.ListMessagesRequest(conversation_id=group))
    return {each.seq: each.message_appended for each in listed.messages}


async def test_edit_reaches_every_device_and_history(play: Play) -> None:
    seq = await play.alice.sent(play.group, "helo")
    appended = (await play.alice.ask(edit(play.group, seq, "hello"))).appended
    assert appended.seq == seq + 1
    for device in play.all:
        await device.has_all(play.group, appended.seq)
        entry = device.logs[play.group][appended.seq]
        assert (entry.message_edited.target_seq, entry.message_edited.content.text.body) == (seq, "hello")
        assert entry.actor_id == play.alice.user_id
    message = (await shown(play.bob, play.group))[seq]
    assert (message.content.text.body, message.edit_seq) == ("hello", appended.seq)


async def test_repeated_edit_request_is_applied_once(play: Play) -> None:
    seq, key = await play.alice.sent(play.group, "helo"), new_id()
    first = (await play.alice.ask(edit(play.group, seq, "hello", key))).appended.seq
    assert (await play.alice.ask(edit(play.group, seq, "hello", key))).appended.seq == first
    assert (await play.alice.refusal(edit(play.group, seq, "other", key))).said == (
        "ALREADY_EXISTS",
        "REQUEST_ID_REUSED",
    )


async def test_replaced_edit_content_is_unreadable(play: Play) -> None:
    seq = await play.alice.sent(play.group, "one")
    second = (await play.alice.ask(edit(play.group, seq, "two"))).appended.seq
    third = (await play.alice.ask(edit(play.group, seq, "three"))).appended.seq
    fetched = await play.carol.fetch(play.group, limit=500)
    entries = {entry.seq: entry for entry in fetched.entries}
    assert entries[seq].message_appended.content.text.body == "three"
    assert not entries[second].message_edited.HasField("content")
    assert entries[third].message_edited.content.text.body == "three"


async def test_only_author_edits_message(play: Play) -> None:
    seq = await play.alice.sent(play.group, "mine")
    for other in (play.bob, play.carol):
        assert (await other.refusal(edit(play.group, seq, "yours"))).said == FORBIDDEN
    for place in (1, seq + 1000):
        assert (await play.alice.refusal(edit(play.group, place, "?"))).said == NOT_FOUND


async def test_deletion_removes_content_everywhere(play: Play) -> None:
    seq = await play.alice.sent(play.group, "oops")
    edited = (await play.alice.ask(edit(play.group, seq, "oops!"))).appended.seq
    await play.bob.ask(react(play.group, seq, "👍"))
    deleted = (await play.alice.ask(delete(play.group, seq))).appended.seq
    for device in play.all:
        await device.has_all(play.group, deleted)
        assert device.logs[play.group][deleted].message_deleted.target_seq == seq
    entries = {entry.seq: entry for entry in (await play.carol.fetch(play.group, limit=500)).entries}
    assert not entries[seq].message_appended.HasField("content")
    assert entries[seq].message_appended.delete_seq == deleted
    assert not entries[seq].message_appended.reactions
    assert not entries[edited].message_edited.HasField("content")
    assert (await play.bob.refusal(react(play.group, seq, "👎"))).said == NOT_FOUND
    assert (await play.alice.refusal(edit(play.group, seq, "back"))).said == NOT_FOUND


async def test_admins_delete_any_message_and_members_only_their_own(play: Play) -> None:
    seq = await play.alice.sent(play.group, "rude")
    assert (await play.bob.refusal(delete(play.group, seq))).said == FORBIDDEN
    assert (await play.carol.ask(delete(play.group, seq))).appended.seq == seq + 1


async def test_each_user_has_one_removable_reaction(play: Play) -> None:
    seq = await play.alice.sent(play.group, "good news")
    said = ((play.bob, "👍"), (play.bob, "🎉"), (play.carol, "❤️"), (play.carol, ""))
    last = [(await device.ask(react(play.group, seq, emoji))).appended.seq for device, emoji in said][-1]
    for device in play.all:
        await device.has_all(play.group, last)
    message = (await shown(play.alice, play.group))[seq]
    assert [(each.user_id, each.emoji) for each in message.reactions] == [(play.bob.user_id, "🎉")]


async def test_message_hidden_by_user_disappears_only_on_own_devices(play: Play) -> None:
    seq = await play.bob.sent(play.group, "spoiler")
    answer = await play.alice.ask(delete(play.group, seq, for_all=False))
    assert not answer.HasField("appended")
    assert play.group in (await play.alices_laptop.changes())[0]
    [result] = (await play.alices_laptop.fetch(play.group)).ranges
    assert list(result.hidden_seqs) == [seq]
    assert seq not in await shown(play.alices_laptop, play.group)
    assert seq in await shown(play.bob, play.group)
    assert (await play.alice.refusal(delete(play.group, seq + 100, for_all=False))).said == NOT_FOUND


async def test_offline_device_ends_like_connected_device(world: World, play: Play) -> None:
    seqs = [await play.alice.sent(play.group, str(number)) for number in range(4)]
    for device in play.all:
        await device.has_all(play.group, seqs[-1])
    await play.alices_laptop.close()
    await play.alice.ask(edit(play.group, seqs[0], "edited"))
    await play.alice.ask(delete(play.group, seqs[1]))
    await play.bob.ask(react(play.group, seqs[2], "👍"))
    last = (await play.carol.ask(react(play.group, seqs[2], "👋"))).appended.seq
    await play.bob.has_all(play.group, last)
    assert play.group in await resumed(play.alices_laptop)
    await play.alices_laptop.fetch(play.group, seqs[-1], limit=500)
    away, there = play.alices_laptop.logs[play.group], play.bob.logs[play.group]
    for seq in range(seqs[0], last + 1):
        assert without_id(away[seq]) == without_id(there[seq])


async def resumed(device: RawDevice) -> list[str]:
    await device.open(device.cursor)
    return (await device.changes())[0]


def without_id(entry: entry_pb2.Entry) -> entry_pb2.Entry:
    copy = entry_pb2.Entry()
    copy.CopyFrom(entry)
    copy.client_message_id = ""
    return copy


async def test_readers_exclude_author(play: Play) -> None:
    seq = await play.alice.sent(play.group, "read this")
    await play.bob.receipt(play.group, read=seq)
    await play.alice.is_told(play.group, play.bob, delivered=seq, read=seq)
    request = chat_pb2.ListReadersRequest(conversation_id=play.group, seq=seq, page_size=1)
    first = await play.alice.ask(request)
    request.page_token = first.next_page_token
    second = await play.alice.ask(request)
    assert not second.next_page_token
    marks = {each.user_id: each.read_seq for each in [*first.watermarks, *second.watermarks]}
    assert marks.keys() == {play.bob.user_id, play.carol.user_id}
    assert marks[play.bob.user_id] == seq


async def test_typing_reaches_only_other_members(world: World, play: Play) -> None:
    dave = await world.user("dave")
    await dave.attend()
    await play.alice.stream.say(typing=chat_pb2.SetTypingRequest(conversation_id=play.group, typing=True))
    for device in (play.bob, play.carol):
        told = await device.stream.next("typing")
        assert (told.conversation_id, told.user_id, told.typing) == (play.group, play.alice.user_id, True)
    await play.bob.ask(chat_pb2.SetTypingRequest(conversation_id=play.group))
    assert not (await play.alice.stream.next("typing")).typing
    assert "typing" not in dave.stream.kinds
    strange = chat_pb2.SetTypingRequest(conversation_id=play.group, typing=True)
    assert (await dave.refusal(strange)).said == ("NOT_FOUND", "CONVERSATION_NOT_FOUND")


async def test_removed_member_sees_later_deletion_but_no_edit_or_reaction(play: Play) -> None:
    edited, kept, deleted = [await play.bob.sent(play.group, body) for body in ("raw", "fine", "gone soon")]
    await play.bob.ask(react(play.group, kept, "👍"))
    await play.carol.ask(remove(play.group, play.alice))
    await play.bob.ask(edit(play.group, edited, "a secret of those who stayed"))
    await play.carol.ask(react(play.group, kept, "🤫"))
    await play.bob.ask(delete(play.group, deleted))

    async def alice_sees_only_what_she_saw() -> None:
        fetched = (await play.alice.fetch(play.group, limit=500)).entries
        messages = {each.seq: each.message_appended for each in fetched if each.HasField("message_appended")}
        for seen in (await shown(play.alice, play.group), messages):
            bodies = {seq: message.content.text.body for seq, message in seen.items()}
            assert bodies == {edited: "", kept: "fine", deleted: ""}
            assert [each.emoji for each in seen[kept].reactions] == ["👍"]
            assert seen[deleted].delete_seq
        assert not (await play.alice.ask(chat_pb2.SearchMessagesRequest(query="secret"))).messages

    await alice_sees_only_what_she_saw()
    # Nor when she is a member again: what she missed she missed.
    await play.carol.ask(add(play.group, play.alice))
    await alice_sees_only_what_she_saw()
    assert (await play.carol.ask(chat_pb2.SearchMessagesRequest(query="secret"))).messages
