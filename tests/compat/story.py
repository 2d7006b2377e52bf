"""The story of a recording: its users make servers exchange each kind of frame and store each kind of document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from devstack.servers.service import ServiceReplica
from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2, entry_pb2
from parley.internal.v1 import directory_pb2
from parley.media.v1 import media_pb2
from parley.notify.v1 import notify_pb2
from parley.presence.v1 import presence_pb2
from tests.compat.recording import Answer
from tests.media_files import read_sample
from tests.raw.device import RawDevice, new_id, text
from tests.raw.directory import call, credential_of
from tests.raw.media import upload
from tests.raw.world import PASSWORD, World

EXPORT: Final = "/parley.chat.v1.AccountService/ExportAccount"
FAR: Final = Timestamp(seconds=253402300799)
# No content expires before the recording is of no more use.
KEPT: Final = entry_pb2.Retention(max_age=Duration(seconds=3650 * 86400))


@dataclass(slots=True)
class Story:
    """The users and conversations of a recording: alice's home is the first server, bob's the second one."""

    world: World
    alice: RawDevice
    bob: RawDevice
    carol: RawDevice
    direct: str = ""
    group: str = ""
    media_id: str = ""

    @property
    def devices(self) -> list[RawDevice]:
        """Return the devices that read in the end."""
        return [self.alice, self.bob, self.carol]


async def begin(world: World) -> Story:
    """Create the users; alice and bob have streams at the server that is not their home."""
    first, second = world.servers
    alice, bob = await world.pair(first, second)
    story = Story(world, alice, bob, await world.listed_user("carol-recorded", "Carol"))
    await alice.connect(at=second)
    await bob.connect(at=first)
    story.direct = await alice.direct(bob)
    for server in (first, second):
        # Wherever a group is owned, one of the servers passes its creation on.
        request = conversation_pb2.CreateGroupRequest(
            request_id=new_id(), title="recorded", member_ids=[bob.user_id, story.carol.user_id]
        )
        story.group = (await alice.call(request, at=server)).conversation.conversation_id
    return story


async def write(story: Story) -> None:
    """Send a message of each kind of content, and change some of them."""
    alice, bob, group = story.alice, story.bob, story.group
    picture = await upload(story.world, alice, read_sample("alien1.jpg"))
    story.media_id = picture.media_id
    mention = entry_pb2.Mention(user_id=bob.user_id, offset=0, length=4)
    for conversation in (story.direct, group):
        first = await alice.sent(conversation, text("a text"))
        await bob.sent(conversation, text("heard"))
        mentioning = entry_pb2.Text(body="@bob hears", mentions=[mention])
        await alice.sent(conversation, entry_pb2.Content(text=mentioning, reply_to_seq=first))
    for content in (
        entry_pb2.Content(media=entry_pb2.MediaReference(media_id=picture.media_id, caption="an alien")),
        entry_pb2.Content(location=entry_pb2.Location(latitude=48.2, longitude=16.37, name="Vienna")),
        entry_pb2.Content(contact_card=entry_pb2.ContactCard(display_name="Carol", user_id=story.carol.user_id)),
        entry_pb2.Content(custom=entry_pb2.CustomPayload(content_type="app/poll", payload=b"\x00\x01")),
        entry_pb2.Content(text=entry_pb2.Text(body="forwarded"), forwarded=True),
    ):
        await alice.sent(group, content)
    for server in story.world.servers:
        await change(story, server)


async def change(story: Story, server: str) -> None:
    """Change messages, the group and its members, and call about streams at one of the servers."""
    alice, bob, group = story.alice, story.bob, story.group
    reacted, edited, deleted, hidden = [
        await alice.sent(group, text(f"to be {change}")) for change in ("reacted to", "edited", "deleted", "hidden")
    ]
    new = {"request_id": new_id(), "conversation_id": group}
    for user, request in (
        (alice, chat_pb2.SendMessageRequest(client_message_id=new_id(), conversation_id=group, content=text("a call"))),
        (alice, chat_pb2.EditMessageRequest(**new, target_seq=edited, content=text("edited"))),
        (alice, chat_pb2.SetReactionRequest(**_fresh(new), target_seq=reacted, emoji="👍")),
        (bob, chat_pb2.SetReactionRequest(**_fresh(new), target_seq=reacted, emoji="🎉")),
        (alice, chat_pb2.DeleteMessageRequest(**_fresh(new), target_seq=deleted, for_all=True)),
        (bob, chat_pb2.DeleteMessageRequest(**_fresh(new), target_seq=hidden, for_all=False)),
        (alice, conversation_pb2.SetRoleRequest(**_fresh(new), user_id=bob.user_id, role=entry_pb2.ROLE_ADMIN)),
        (alice, conversation_pb2.RemoveMemberRequest(**_fresh(new), user_id=story.carol.user_id)),
        (alice, conversation_pb2.AddMembersRequest(**_fresh(new), member_ids=[story.carol.user_id])),
        (alice, _rename(group, f"renamed at {server}")),
        (alice, conversation_pb2.SetRetentionRequest(**_fresh(new), retention=KEPT)),
        (bob, conversation_pb2.SetMuteRequest(conversation_id=story.direct, mute_until_time=FAR)),
        (alice, conversation_pb2.SetPinnedRequest(conversation_id=group, pinned=True)),
        (alice, conversation_pb2.SetArchivedRequest(conversation_id=story.direct, archived=True)),
        (alice, chat_pb2.SetTypingRequest(conversation_id=group, typing=True)),
        (alice, chat_pb2.HeartbeatRequest(activity=chat_pb2.ACTIVITY_FOREGROUND)),
        (bob, chat_pb2.HeartbeatRequest(activity=chat_pb2.ACTIVITY_FOREGROUND)),
        (bob, account_pb2.BlockUserRequest(user_id=story.carol.user_id)),
    ):
        await user.call(request, at=server)
    await receive(story, server)


async def receive(story: Story, server: str) -> None:
    """Raise watermarks on a stream and by a call, and by one who is no member."""
    head = max(story.alice.logs[story.group])
    await story.bob.receipt(story.group, delivered=head, read=head)
    await story.alice.has_receipts(story.group, story.bob, delivered=head, read=head)
    receipt = chat_pb2.Receipt(conversation_id=story.direct, delivered_seq=2, read_seq=2)
    await story.bob.call(chat_pb2.UpdateReceiptsRequest(receipts=[receipt]), at=server)
    await story.carol.refusal(chat_pb2.UpdateReceiptsRequest(receipts=[receipt]), at=server)


async def watch(story: Story) -> None:
    """Let users see each other come and go, and change who may."""
    alice, bob = story.alice, story.bob
    everyone = presence_pb2.Visibility(online=presence_pb2.AUDIENCE_EVERYONE, last_seen=presence_pb2.AUDIENCE_EVERYONE)
    await bob.call(presence_pb2.SetVisibilityRequest(visibility=everyone))
    watching = chat_pb2.WatchPresenceRequest(user_ids=[bob.user_id, story.carol.user_id])
    await alice.stream.send_frame(watch_presence=watching)
    await alice.stream.next_frame("presence")
    background = chat_pb2.HeartbeatRequest(activity=chat_pb2.ACTIVITY_BACKGROUND)
    await bob.stream.send_frame(heartbeat=background)
    await alice.stream.next_frame("presence")


async def sign_out(story: Story) -> None:
    """Sign out a connected device of alice at each server, supersede a stream, and change who blocks carol."""
    world, alice = story.world, story.alice
    for server in world.servers:
        other = await world.add_device(alice)
        await other.connect(at=server)
        first = other.stream
        await other.connect(at=world.servers[1])
        await first.wait_ended()
        await alice.call(account_pb2.RevokeDeviceRequest(device_id=other.device_id), at=server)
        await other.stream.wait_ended()
        await story.bob.call(account_pb2.UnblockUserRequest(user_id=story.carol.user_id), at=server)
    await alice.call(account_pb2.BlockUserRequest(user_id=story.carol.user_id))


async def register_for_pushes(story: Story) -> None:
    """Register tokens of bob and carol, and set preferences."""
    for device in (story.bob, story.carol):
        token = notify_pb2.FcmToken(token=device.device_id)
        await device.call(notify_pb2.RegisterPushTokenRequest(fcm=token, language="de"))
    preferences = notify_pb2.Preferences(reactions=True, scope=notify_pb2.NOTIFICATION_SCOPE_ALL)
    await story.bob.call(notify_pb2.SetPreferencesRequest(preferences=preferences))


async def leave(story: Story) -> None:
    """Register and delete an account, which has a file, a token and memberships."""
    dave = await story.world.register("dave")
    await dave.call(notify_pb2.RegisterPushTokenRequest(fcm=notify_pb2.FcmToken(token=dave.device_id)))
    added = conversation_pb2.AddMembersRequest(
        request_id=new_id(), conversation_id=story.group, member_ids=[dave.user_id]
    )
    await story.alice.call(added)
    await dave.call(account_pb2.DeleteAccountRequest(password=PASSWORD))


async def ask_directory(story: Story, server: ServiceReplica) -> None:
    """Ask a chat server what the other services ask, through its proxy."""
    alice, bob, carol = (device.user_id for device in story.devices)
    relations = directory_pb2.GetRelationsRequest(user_id=alice, other_user_ids=[bob, carol])
    channel = story.world.channel(server.spec.environment["PARLEY_INTERNAL_ADVERTISE"])
    for request in (
        directory_pb2.CheckMembershipRequest(conversation_id=story.group, user_id=carol),
        directory_pb2.CheckMediaAccessRequest(user_id=bob, media_id=story.media_id),
        directory_pb2.ListMediaReferencesRequest(media_ids=[story.media_id]),
        relations,
        directory_pb2.BatchGetRelationsRequest(requests=[relations]),
        directory_pb2.CheckDevicesRequest(user_id=bob, device_ids=[story.bob.device_id, story.alice.device_id]),
        directory_pb2.DescribeForegroundRequest(user_id=alice),
        directory_pb2.DescribeForegroundRequest(user_id=bob),
        directory_pb2.ListMembersRequest(conversation_id=story.group),
        directory_pb2.FindUserRequest(login_name="carol-recorded"),
        directory_pb2.DescribeConversationRequest(
            conversation_id=story.group, sender_id=alice, recipient_ids=[bob, carol], target_seqs=[2], message_seqs=[2]
        ),
    ):
        await call(channel, request, credential_of(story.world.stack))


async def export(story: Story) -> None:
    """Export the account of alice."""
    method: Any = story.world.channel(story.world.stack.door).unary_stream(EXPORT)
    assert [chunk async for chunk in method(b"", metadata=story.alice.metadata)]


async def answers(story: Story) -> list[Answer]:
    """Return what every user is told of all that is stored."""
    return [await _answer(device, request) for device in story.devices for request in _questions(story, device)]


def _questions(story: Story, device: RawDevice) -> list[Message]:
    conversations = [story.group] if device is story.carol else [story.group, story.direct]
    ranges = [chat_pb2.EntryRange(conversation_id=each, limit=500) for each in conversations]
    return [
        *(chat_pb2.ListMessagesRequest(conversation_id=each, page_size=200) for each in conversations),
        *(conversation_pb2.GetConversationRequest(conversation_id=each) for each in conversations),
        *(chat_pb2.ListReadersRequest(conversation_id=each, seq=2) for each in conversations[1:]),
        conversation_pb2.ListConversationsRequest(),
        chat_pb2.ListEntriesRequest(fetch=chat_pb2.Fetch(ranges=ranges)),
        chat_pb2.SearchMessagesRequest(query="heard"),
        account_pb2.GetProfileRequest(user_id=story.carol.user_id),
        account_pb2.SearchUsersRequest(query="carol-recorded"),
        account_pb2.ListDevicesRequest(),
        account_pb2.ListBlockedRequest(),
        account_pb2.GetPrivacyRequest(),
        presence_pb2.GetVisibilityRequest(),
        notify_pb2.ListPushTokensRequest(),
        notify_pb2.GetPreferencesRequest(),
        media_pb2.GetMediaRequest(media_id=story.media_id),
    ]


async def _answer(device: RawDevice, request: Message) -> Answer:
    response = await device.call(request)
    return Answer(
        device.user_id,
        device.device_id,
        request.DESCRIPTOR.full_name,
        request.SerializeToString(),
        response.SerializeToString(),
    )


def _rename(group: str, title: str) -> conversation_pb2.UpdateConversationRequest:
    return conversation_pb2.UpdateConversationRequest(request_id=new_id(), conversation_id=group, title=title)


def _fresh(new: dict[str, str]) -> dict[str, str]:
    return {**new, "request_id": new_id()}
