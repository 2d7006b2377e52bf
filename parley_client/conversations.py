"""Conversations: 1-1 and groups, their members and settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from parley.chat.v1 import conversation_pb2, entry_pb2
from parley.chat.v1.conversation_pb2 import Conversation
from parley.chat.v1.entry_pb2 import Retention
from parley_client.calls import AuthenticatedCalls
from parley_client.clock import ServerClock


class Conversations:
    """The conversations of the signed-in user. Every method raises ParleyError."""

    def __init__(self, calls: AuthenticatedCalls, clock: ServerClock) -> None:
        self._calls = calls
        self._clock = clock

    async def get_or_create_direct(self, peer_id: str) -> Conversation:
        """Return the 1-1 conversation with a user; create it if there is none."""
        request = conversation_pb2.GetOrCreateDirectRequest(peer_id=peer_id)
        response = await self._calls.call(lambda channel: channel.conversations.GetOrCreateDirect, request)
        return response.conversation

    async def create_group(self, title: str, member_ids: Sequence[str]) -> Conversation:
        """Create a group of the caller, who becomes its admin, and 1 to 99 other members."""
        request = conversation_pb2.CreateGroupRequest(
            request_id=self._clock.new_id(), title=title, member_ids=member_ids
        )
        return (await self._calls.call(lambda channel: channel.conversations.CreateGroup, request)).conversation

    async def get(self, conversation_id: str) -> Conversation:
        """Return one conversation with its members. Raises NotFound if the caller is not a member."""
        request = conversation_pb2.GetConversationRequest(conversation_id=conversation_id)
        return (await self._calls.call(lambda channel: channel.conversations.GetConversation, request)).conversation

    async def list(self) -> AsyncIterator[Conversation]:
        """Yield all conversations of the caller, with heads and unread counts, in no particular order."""
        request = conversation_pb2.ListConversationsRequest(page_size=100)
        while True:
            response = await self._calls.call(lambda channel: channel.conversations.ListConversations, request)
            for conversation in response.conversations:
                yield conversation
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def rename(self, conversation_id: str, title: str) -> Conversation:
        """Change the title of a group, 1 to 128 characters (admins only)."""
        return await self.update(conversation_id, title=title)

    async def update(
        self,
        conversation_id: str,
        *,
        title: str | None = None,
        picture_media_id: str | None = None,
        admins_only_send: bool | None = None,
    ) -> Conversation:
        """Change a group (admins only). None keeps a value; an empty `picture_media_id` removes the picture."""
        request = conversation_pb2.UpdateConversationRequest(
            request_id=self._clock.new_id(),
            conversation_id=conversation_id,
            title=title,
            picture_media_id=picture_media_id,
            admins_only_send=admins_only_send,
        )
        response = await self._calls.call(lambda channel: channel.conversations.UpdateConversation, request)
        return response.conversation

    async def add_members(self, conversation_id: str, member_ids: Sequence[str]) -> Conversation:
        """Add users to a group (admins only)."""
        request = conversation_pb2.AddMembersRequest(
            request_id=self._clock.new_id(), conversation_id=conversation_id, member_ids=member_ids
        )
        return (await self._calls.call(lambda channel: channel.conversations.AddMembers, request)).conversation

    async def remove_member(self, conversation_id: str, user_id: str) -> None:
        """Remove a user from a group (admins only)."""
        request = conversation_pb2.RemoveMemberRequest(
            request_id=self._clock.new_id(), conversation_id=conversation_id, user_id=user_id
        )
        await self._calls.call(lambda channel: channel.conversations.RemoveMember, request)

    async def leave(self, conversation_id: str) -> None:
        """End the caller's membership of a group."""
        request = conversation_pb2.LeaveGroupRequest(request_id=self._clock.new_id(), conversation_id=conversation_id)
        await self._calls.call(lambda channel: channel.conversations.LeaveGroup, request)

    async def set_role(self, conversation_id: str, user_id: str, role: entry_pb2.Role.ValueType) -> None:
        """Change the role of a member of a group (admins only)."""
        request = conversation_pb2.SetRoleRequest(
            request_id=self._clock.new_id(), conversation_id=conversation_id, user_id=user_id, role=role
        )
        await self._calls.call(lambda channel: channel.conversations.SetRole, request)

    async def set_retention(self, conversation_id: str, retention: Retention | None) -> None:
        """Set the retention (group admins; both users of a 1-1 conversation). None: the deployment's default."""
        request = conversation_pb2.SetRetentionRequest(
            request_id=self._clock.new_id(), conversation_id=conversation_id, retention=retention
        )
        await self._calls.call(lambda channel: channel.conversations.SetRetention, request)

    async def mute(self, conversation_id: str, until: datetime | None) -> None:
        """Suppress the caller's pushes until a timezone-aware time; None enables them again."""
        mute_until = None
        if until is not None:
            mute_until = Timestamp()
            mute_until.FromDatetime(until)
        request = conversation_pb2.SetMuteRequest(conversation_id=conversation_id, mute_until_time=mute_until)
        await self._calls.call(lambda channel: channel.conversations.SetMute, request)

    async def pin(self, conversation_id: str, pinned: bool = True) -> None:
        """Pin a conversation to the top of the caller's list, or unpin it."""
        request = conversation_pb2.SetPinnedRequest(conversation_id=conversation_id, pinned=pinned)
        await self._calls.call(lambda channel: channel.conversations.SetPinned, request)

    async def archive(self, conversation_id: str, archived: bool = True) -> None:
        """Move a conversation from the caller's main list to the archive, or back."""
        request = conversation_pb2.SetArchivedRequest(conversation_id=conversation_id, archived=archived)
        await self._calls.call(lambda channel: channel.conversations.SetArchived, request)
