"""A former member keeps what they have seen, and changes nothing; to a stranger the conversation does not exist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from parley.chat.v1 import chat_pb2, conversation_pb2, entry_pb2
from tests.raw.calls import METHODS
from tests.raw.device import RawDevice, new_id, text
from tests.raw.world import World

pytestmark = pytest.mark.scenario

NO_CONVERSATION = ("NOT_FOUND", "CONVERSATION_NOT_FOUND")


@dataclass(frozen=True)
class Group:
    """A group of alice, which bob has left and to which carol never belonged; bob wrote the message `seq`."""

    alice: RawDevice
    bob: RawDevice
    carol: RawDevice
    group_id: str
    seq: int


@pytest.fixture
async def group(world: World) -> Group:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    await bob.connect()
    group_id = await alice.group("Weather", [bob])
    seq = await bob.sent(group_id, "an umbrella")
    await bob.call(conversation_pb2.LeaveGroupRequest(request_id=new_id(), conversation_id=group_id))
    return Group(alice, bob, carol, group_id, seq)


def readable_by_a_former_member(group: Group) -> list[Message]:
    """Return the requests about the group that bob may still make."""
    chat, conversation, about = chat_pb2, conversation_pb2, group.group_id
    return [
        conversation.GetConversationRequest(conversation_id=about),
        conversation.SetMuteRequest(conversation_id=about, mute_until_time=Timestamp(seconds=2_000_000_000)),
        conversation.SetPinnedRequest(conversation_id=about, pinned=True),
        conversation.SetArchivedRequest(conversation_id=about, archived=True),
        chat.ListMessagesRequest(conversation_id=about),
        chat.SearchMessagesRequest(conversation_id=about, query="umbrella"),
        chat.ListReadersRequest(conversation_id=about, seq=group.seq),
        chat.DeleteMessageRequest(conversation_id=about, request_id=new_id(), target_seq=group.seq),
    ]


def refused_to_a_former_member(group: Group) -> list[Message]:
    """Return the requests about the group that bob may no longer make."""
    chat, conversation, about = chat_pb2, conversation_pb2, group.group_id
    change: dict[str, Any] = {"conversation_id": about, "request_id": new_id()}
    message: dict[str, Any] = {**change, "target_seq": group.seq}
    return [
        chat.SendMessageRequest(conversation_id=about, client_message_id=new_id(), content=text("hello")),
        chat.EditMessageRequest(**message, content=text("a coat")),
        chat.DeleteMessageRequest(**message, for_all=True),
        chat.SetReactionRequest(**message, emoji="☂"),
        chat.SetTypingRequest(conversation_id=about, typing=True),
        conversation.UpdateConversationRequest(**change, title="Sunshine"),
        conversation.AddMembersRequest(**change, member_ids=[group.carol.user_id]),
        conversation.RemoveMemberRequest(**change, user_id=group.alice.user_id),
        conversation.LeaveGroupRequest(**change),
        conversation.SetRoleRequest(**change, user_id=group.alice.user_id, role=entry_pb2.ROLE_MEMBER),
        conversation.SetRetentionRequest(**change),
    ]


async def test_every_call_about_a_conversation_is_in_the_table(group: Group) -> None:
    named = {name for name, method in METHODS.items() if "conversation_id" in method.input_type.fields_by_name}
    tested = {
        each.DESCRIPTOR.full_name for each in readable_by_a_former_member(group) + refused_to_a_former_member(group)
    }
    assert named == tested


async def test_former_member_keeps_what_they_have_seen(group: Group) -> None:
    for request in readable_by_a_former_member(group):
        await group.bob.call(request)
    listed = (await group.bob.call(conversation_pb2.ListConversationsRequest())).conversations
    assert [(each.conversation_id, len(each.members)) for each in listed] == [(group.group_id, 0)]
    fetch = chat_pb2.Fetch(ranges=[chat_pb2.EntryRange(conversation_id=group.group_id)])
    assert (
        (await group.bob.call(chat_pb2.ListEntriesRequest(fetch=fetch)))
        .entries.entries[-1]
        .HasField("membership_changed")
    )


async def test_former_member_changes_nothing(group: Group) -> None:
    head = (
        await group.alice.call(conversation_pb2.GetConversationRequest(conversation_id=group.group_id))
    ).conversation
    for request in refused_to_a_former_member(group):
        assert (await group.bob.refusal(request)).code_and_reason == NO_CONVERSATION, request.DESCRIPTOR.name
    receipt = chat_pb2.Receipt(conversation_id=group.group_id, delivered_seq=group.seq, read_seq=group.seq)
    refusal = await group.bob.refusal(chat_pb2.UpdateReceiptsRequest(receipts=[receipt]))
    assert refusal.code_and_reason == NO_CONVERSATION
    after = (
        await group.alice.call(conversation_pb2.GetConversationRequest(conversation_id=group.group_id))
    ).conversation
    assert after == head


async def test_conversation_does_not_exist_for_a_stranger(group: Group) -> None:
    for request in readable_by_a_former_member(group) + refused_to_a_former_member(group):
        assert (await group.carol.refusal(request)).code_and_reason == NO_CONVERSATION, request.DESCRIPTOR.name
