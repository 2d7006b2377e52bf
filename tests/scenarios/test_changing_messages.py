"""Messages are edited, deleted and reacted to: connected and offline devices end with the same state."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from parley.chat.v1 import chat_pb2, entry_pb2
from tests.raw.device import RawDevice, new_id, text
from tests.raw.world import World
from tests.scenarios.test_groups import add, remove, update

pytestmark = pytest.mark.scenario

NOT_FOUND = ("NOT_FOUND", "MESSAGE_NOT_FOUND")
FORBIDDEN = ("PERMISSION_DENIED", "ROLE_INSUFFICIENT")


@dataclass
class Scenario:
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
async def scenario(world: World) -> Scenario:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    laptop = await world.add_device(alice)
    group = await carol.group("Weather", [alice, bob])
    for device in (alice, laptop, bob, carol):
        await device.connect()
    return Scenario(alice, laptop, bob, carol, group)


def edit(group: str, seq: int, body: str, request_id: str = "") -> chat_pb2.EditMessageRequest:
    return chat_pb2.EditMessageRequest(
        request_id=request_id or new_id(), conversation_id=group, target_seq=seq, content=text(body)
    )


def delete(group: str, seq: int, *, for_all: bool = True) -> chat_pb2.DeleteMessageRequest:
    return chat_pb2.DeleteMessageRequest(request_id=new_id(), conversation_id=group, target_seq=seq, for_all=for_all)


def react(group: str, seq: int, emoji: str) -> chat_pb2.SetReactionRequest:
    return chat_pb2.SetReactionRequest(request_id=new_id(), conversation_id=group, target_seq=seq, emoji=emoji)


async def shown(device: RawDevice, group: str) -> dict[int, entry_pb2.MessageAppended]:
    listed = await device.call(chat_pb2.ListMessagesRequest(conversation_id=group))
    return {each.seq: each.message_appended for each in listed.messages}


async def test_edit_reaches_every_device_and_history(scenario: Scenario) -> None:
    seq = await scenario.alice.sent(scenario.group, "helo")
    appended = (await scenario.alice.call(edit(scenario.group, seq, "hello"))).appended
    assert appended.seq == seq + 1
    for device in scenario.all:
        await device.has_all(scenario.group, appended.seq)
        entry = device.logs[scenario.group][appended.seq]
        assert (entry.message_edited.target_seq, entry.message_edited.content.text.body) == (seq, "hello")
        assert entry.actor_id == scenario.alice.user_id
    message = (await shown(scenario.bob, scenario.group))[seq]
    assert (message.content.text.body, message.edit_seq) == ("hello", appended.seq)


async def test_repeated_edit_request_is_applied_once(scenario: Scenario) -> None:
    seq, key = await scenario.alice.sent(scenario.group, "helo"), new_id()
    first = (await scenario.alice.call(edit(scenario.group, seq, "hello", key))).appended.seq
    assert (await scenario.alice.call(edit(scenario.group, seq, "hello", key))).appended.seq == first
    assert (await scenario.alice.refusal(edit(scenario.group, seq, "other", key))).code_and_reason == (
        "ALREADY_EXISTS",
        "REQUEST_ID_REUSED",
    )


async def test_replaced_edit_content_is_unreadable(scenario: Scenario) -> None:
    seq = await scenario.alice.sent(scenario.group, "one")
    second = (await scenario.alice.call(edit(scenario.group, seq, "two"))).appended.seq
    third = (await scenario.alice.call(edit(scenario.group, seq, "three"))).appended.seq
    fetched = await scenario.carol.fetch(scenario.group, limit=500)
    entries = {entry.seq: entry for entry in fetched.entries}
    assert entries[seq].message_appended.content.text.body == "three"
    assert not entries[second].message_edited.HasField("content")
    assert entries[third].message_edited.content.text.body == "three"


async def test_only_author_edits_message(scenario: Scenario) -> None:
    seq = await scenario.alice.sent(scenario.group, "mine")
    for other in (scenario.bob, scenario.carol):
        assert (await other.refusal(edit(scenario.group, seq, "yours"))).code_and_reason == FORBIDDEN
    for place in (1, seq + 1000):
        assert (await scenario.alice.refusal(edit(scenario.group, place, "?"))).code_and_reason == NOT_FOUND


async def test_deletion_removes_content_everywhere(scenario: Scenario) -> None:
    seq = await scenario.alice.sent(scenario.group, "oops")
    edited = (await scenario.alice.call(edit(scenario.group, seq, "oops!"))).appended.seq
    await scenario.bob.call(react(scenario.group, seq, "👍"))
    deleted = (await scenario.alice.call(delete(scenario.group, seq))).appended.seq
    for device in scenario.all:
        await device.has_all(scenario.group, deleted)
        assert device.logs[scenario.group][deleted].message_deleted.target_seq == seq
    entries = {entry.seq: entry for entry in (await scenario.carol.fetch(scenario.group, limit=500)).entries}
    assert not entries[seq].message_appended.HasField("content")
    assert entries[seq].message_appended.delete_seq == deleted
    assert not entries[seq].message_appended.reactions
    assert not entries[edited].message_edited.HasField("content")
    assert (await scenario.bob.refusal(react(scenario.group, seq, "👎"))).code_and_reason == NOT_FOUND
    assert (await scenario.alice.refusal(edit(scenario.group, seq, "back"))).code_and_reason == NOT_FOUND


async def test_admins_delete_any_message_and_members_only_their_own(scenario: Scenario) -> None:
    seq = await scenario.alice.sent(scenario.group, "rude")
    assert (await scenario.bob.refusal(delete(scenario.group, seq))).code_and_reason == FORBIDDEN
    assert (await scenario.carol.call(delete(scenario.group, seq))).appended.seq == seq + 1


async def test_each_user_has_one_removable_reaction(scenario: Scenario) -> None:
    seq = await scenario.alice.sent(scenario.group, "good news")
    said = ((scenario.bob, "👍"), (scenario.bob, "🎉"), (scenario.carol, "❤️"), (scenario.carol, ""))
    last = [(await device.call(react(scenario.group, seq, emoji))).appended.seq for device, emoji in said][-1]
    for device in scenario.all:
        await device.has_all(scenario.group, last)
    message = (await shown(scenario.alice, scenario.group))[seq]
    assert [(each.user_id, each.emoji) for each in message.reactions] == [(scenario.bob.user_id, "🎉")]


async def test_message_hidden_by_user_disappears_only_on_own_devices(scenario: Scenario) -> None:
    seq = await scenario.bob.sent(scenario.group, "spoiler")
    answer = await scenario.alice.call(delete(scenario.group, seq, for_all=False))
    assert not answer.HasField("appended")
    assert scenario.group in (await scenario.alices_laptop.changes())[0]
    [result] = (await scenario.alices_laptop.fetch(scenario.group)).ranges
    assert list(result.hidden_seqs) == [seq]
    assert seq not in await shown(scenario.alices_laptop, scenario.group)
    assert seq in await shown(scenario.bob, scenario.group)
    assert (await scenario.alice.refusal(delete(scenario.group, seq + 100, for_all=False))).code_and_reason == NOT_FOUND


async def test_offline_device_ends_like_connected_device(world: World, scenario: Scenario) -> None:
    seqs = [await scenario.alice.sent(scenario.group, str(number)) for number in range(4)]
    for device in scenario.all:
        await device.has_all(scenario.group, seqs[-1])
    await scenario.alices_laptop.close()
    await scenario.alice.call(edit(scenario.group, seqs[0], "edited"))
    await scenario.alice.call(delete(scenario.group, seqs[1]))
    await scenario.bob.call(react(scenario.group, seqs[2], "👍"))
    last = (await scenario.carol.call(react(scenario.group, seqs[2], "👋"))).appended.seq
    await scenario.bob.has_all(scenario.group, last)
    assert scenario.group in await resumed(scenario.alices_laptop)
    await scenario.alices_laptop.fetch(scenario.group, seqs[-1], limit=500)
    away, there = scenario.alices_laptop.logs[scenario.group], scenario.bob.logs[scenario.group]
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


async def test_readers_exclude_author(scenario: Scenario) -> None:
    seq = await scenario.alice.sent(scenario.group, "read this")
    await scenario.bob.receipt(scenario.group, read=seq)
    await scenario.alice.has_receipts(scenario.group, scenario.bob, delivered=seq, read=seq)
    request = chat_pb2.ListReadersRequest(conversation_id=scenario.group, seq=seq, page_size=1)
    first = await scenario.alice.call(request)
    request.page_token = first.next_page_token
    second = await scenario.alice.call(request)
    assert not second.next_page_token
    marks = {each.user_id: each.read_seq for each in [*first.watermarks, *second.watermarks]}
    assert marks.keys() == {scenario.bob.user_id, scenario.carol.user_id}
    assert marks[scenario.bob.user_id] == seq


async def test_typing_reaches_only_other_members(world: World, scenario: Scenario) -> None:
    dave = await world.user("dave")
    await dave.connect()
    await scenario.alice.stream.send_frame(
        typing=chat_pb2.SetTypingRequest(conversation_id=scenario.group, typing=True)
    )
    for device in (scenario.bob, scenario.carol):
        told = await device.stream.next_frame("typing")
        assert (told.conversation_id, told.user_id, told.typing) == (scenario.group, scenario.alice.user_id, True)
    await scenario.bob.call(chat_pb2.SetTypingRequest(conversation_id=scenario.group))
    assert not (await scenario.alice.stream.next_frame("typing")).typing
    assert "typing" not in dave.stream.kinds
    strange = chat_pb2.SetTypingRequest(conversation_id=scenario.group, typing=True)
    assert (await dave.refusal(strange)).code_and_reason == ("NOT_FOUND", "CONVERSATION_NOT_FOUND")


async def test_removed_member_sees_later_deletion_but_no_edit_or_reaction(scenario: Scenario) -> None:
    edited, kept, deleted = [await scenario.bob.sent(scenario.group, body) for body in ("raw", "fine", "gone soon")]
    await scenario.bob.call(react(scenario.group, kept, "👍"))
    await scenario.carol.call(remove(scenario.group, scenario.alice))
    await scenario.bob.call(edit(scenario.group, edited, "a secret of those who stayed"))
    await scenario.carol.call(react(scenario.group, kept, "🤫"))
    await scenario.bob.call(delete(scenario.group, deleted))

    async def alice_sees_only_what_she_saw() -> None:
        fetched = (await scenario.alice.fetch(scenario.group, limit=500)).entries
        messages = {each.seq: each.message_appended for each in fetched if each.HasField("message_appended")}
        for seen in (await shown(scenario.alice, scenario.group), messages):
            bodies = {seq: message.content.text.body for seq, message in seen.items()}
            assert bodies == {edited: "", kept: "fine", deleted: ""}
            assert [each.emoji for each in seen[kept].reactions] == ["👍"]
            assert seen[deleted].delete_seq
        assert not (await scenario.alice.call(chat_pb2.SearchMessagesRequest(query="secret"))).messages

    await alice_sees_only_what_she_saw()
    # Nor when she is a member again: what she missed she missed.
    await scenario.carol.call(add(scenario.group, scenario.alice))
    await alice_sees_only_what_she_saw()
    assert (await scenario.carol.call(chat_pb2.SearchMessagesRequest(query="secret"))).messages


async def test_member_cannot_edit_while_only_admins_may_send(scenario: Scenario) -> None:
    seq = await scenario.alice.sent(scenario.group, "what I said")
    await scenario.carol.call(update(scenario.group, admins_only_send=True))
    refusal = await scenario.alice.refusal(edit(scenario.group, seq, "what I may not say"))
    assert refusal.code_and_reason == FORBIDDEN
    await scenario.carol.call(update(scenario.group, admins_only_send=False))
    await scenario.alice.call(edit(scenario.group, seq, "what I may say"))
