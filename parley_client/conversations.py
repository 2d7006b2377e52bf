"""Conversations: 1-1 and groups, their members and settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from parley.chat.v1 import conversation_pb2, entry_pb2
from parley.chat.v1.conversation_pb2 import Conversation
from parley.chat.v1.entry_pb2 import Retention
from parley_client.calls import Calls
from parley_client.clock import ServerClock


class Conversations:
    """The conversations of the signed-in user. Every method raises ParleyError."""

    def __init__(self, calls: Calls, clock: ServerClock) -> None:
        self._calls = calls
        self._clock = clock

    async def get_or_create_direct(self, peer_id: str) -> Conversation:
        """The 1-1 conversation with a user, made if need be."""
        request = conversation_pb2.GetOrCreateDirectRequest(peer_id=peer_id)
        answer = await self._calls.ask(lambda door: door.conversations.GetOrCreateDirect, request)
        return answer.conversation

    async def create_group(self, title: str, member_ids: Sequence[str]) -> Conversation:
        """A group of the caller, its admin, and 1 to 99 others."""
        request = conversation_pb2.CreateGroupRequest(
            request_id=self._clock.new_id(), title=title, member_ids=member_ids
        )
        return (await self._calls.ask(lambda door: door.conversations.CreateGroup, request)).conversation

    async def get(self, conversation_id: str) -> Conversation:
        """One conversation with its members. NotFound if the caller is not one of them."""
        request = conversation_pb2.GetConversationRequest(conversation_id=conversation_id)
        return (await self._calls.ask(lambda door: door.conversations.GetConversation, request)).conversation

    async def list(self) -> AsyncIterator[Conversation]:
        """All conversations of the caller, with heads and unread counts, in no particular order."""
        request = conversation_pb2.ListConversationsRequest(page_size=100)
        while True:
            answer = await self._calls.ask(lambda door: door.conversations.ListConversations, request)
            for conversation in answer.conversations:
                yield conversation
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def rename(self, conversation_id: str, title: str) -> Conversation:
        """Give a group another title, 1 to 128 characters (admins)."""
        return await self.update(conversation_id, title=title)

    async def update(
        self,
        conversation_id: str,
        *,
        title: str | None = None,
        picture_media_id: str | None = None,
        admins_only_send: bool | None = None,
    ) -> Conversation:
        """Change a group (admins): None stays; an empty `picture_media_id` takes the picture away."""
        request = conversation_pb2.UpdateConversationRequest(
            request_id=self._clock.new_id(),
            conversation_id=conversation_id,
            title=title,
            picture_media_id=picture_media_id,
            admins_only_send=admins_only_send,
        )
        answer = await self._calls.ask(lambda door: door.conversations.UpdateConversation, request)
        return answer.conversation

    async def add_members(self, conversation_id: str, member_ids: Sequence[str]) -> Conversation:
        """Add users to a group (admins)."""
        request = conversation_pb2.AddMembersRequest(
            request_id=self._clock.new_id(), conversation_id=conversation_id, member_ids=member_ids
        )
        return (await self._calls.ask(lambda door: door.conversations.AddMembers, request)).conversation

    async def remove_member(self, conversation_id: str, user_id: str) -> None:
        """Remove a user from a group (admins)."""
        request = conversation_pb2.RemoveMemberRequest(
            request_id=self._clock.new_id(), conversation_id=conversation_id, user_id=user_id
        )
        await self._calls.ask(lambda door: door.conversations.RemoveMember, request)

    async def leave(self, conversation_id: str) -> None:
        """End the own membership of a group."""
        request = conversation_pb2.LeaveGroupRequest(request_id=self._clock.new_id(), conversation_id=conversation_id)
        await self._calls.ask(lambda door: door.conversations.LeaveGroup, request)

    async def set_role(self, conversation_id: str, user_id: str, role: entry_pb2.Role.ValueType) -> None:
        """Change what a member of a group may do (admins)."""
        request = conversation_pb2.SetRoleRequest(
            request_id=self._clock.new_id(), conversation_id=conversation_id, user_id=user_id, role=role
        )
        await self._calls.ask(lambda door: door.conversations.SetRole, request)

    async def set_retention(self, conversation_id: str, retention: Retention | None) -> None:
        """How long content is kept (admins; both sides of a 1-1 conversation); None: the deployment's default."""
        request = conversation_pb2.SetRetentionRequest(
            request_id=self._clock.new_id(), conversation_id=conversation_id, retention=retention
        )
        await self._calls.ask(lambda door: door.conversations.SetRetention, request)

    async def mute(self, conversation_id: str, until: datetime | None) -> None:
        """No pushes until then (a time with its zone), for the caller alone; None: pushes again."""
        moment = None
        if until is not None:
            moment = Timestamp()
            moment.FromDatetime(until)
        request = conversation_pb2.SetMuteRequest(conversation_id=conversation_id, mute_until_time=moment)
        await self._calls.ask(lambda door: door.conversations.SetMute, request)

    async def pin(self, conversation_id: str, pinned: bool = True) -> None:
        """Keep it at the top of the caller's list, or no more."""
        request = conversation_pb2.SetPinnedRequest(conversation_id=conversation_id, pinned=pinned)
        await self._calls.ask(lambda door: door.conversations.SetPinned, request)

    async def archive(self, conversation_id: str, archived: bool = True) -> None:
        """Put it out of the caller's main list, or back."""
        request = conversation_pb2.SetArchivedRequest(conversation_id=conversation_id, archived=archived)
        await self._calls.ask(lambda door: door.conversations.SetArchived, request)
