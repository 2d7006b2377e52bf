"""The calls of ConversationService that make, read and list conversations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from chat_service.errors import Blocked, GroupTooLarge, PeerIsSelf, UserNotFound
from chat_service.history.history import History
from chat_service.model.creation import Creation
from chat_service.model.ids import direct_id, group_id
from chat_service.servicers.roles import Dependencies
from chat_service.wire.conversations import ID_PATTERN, decode_page_token, encode_conversation, encode_page_token
from chat_service.wire.requests import check_id_time
from parley.chat.v1 import conversation_pb2
from servicekit.rpc import Call

CONVERSATIONS_PAGE: Final = 50
CONVERSATION: Final = "conversation"


@dataclass(frozen=True, slots=True)
class UserChecks:
    """What is known of users: which of some exist, which of some bar another, and which do not want to be added."""

    filter_existing: Callable[[Collection[str]], Awaitable[set[str]]]
    is_blocked: Callable[[str, str], Awaitable[bool]]
    find_refusing: Callable[[str, Collection[str]], Awaitable[set[str]]]

    async def check_exist(self, user_ids: Collection[str]) -> None:
        """Raises UserNotFound for those that do not exist."""
        if missing := set(user_ids) - await self.filter_existing(user_ids):
            raise UserNotFound("no such user", metadata={"user_id": min(missing)})

    async def check_may_be_added(self, by: str, user_ids: Collection[str]) -> None:
        """Raises UserNotFound, and Blocked for those who do not want to be added by this user."""
        await self.check_exist(user_ids)
        if refusing := await self.find_refusing(by, user_ids):
            raise Blocked("this user does not want to be added by you", metadata={"user_id": min(refusing)})


class ConversationCalls:
    """Making, reading and listing."""

    def __init__(self, roles: Dependencies, contacts: UserChecks) -> None:
        self._owners = roles.owners
        self._history = roles.history
        self._contacts = contacts
        self._limits = roles.limits
        self._clock = roles.clock

    async def GetOrCreateDirect(
        self, request: conversation_pb2.GetOrCreateDirectRequest, call: Call
    ) -> conversation_pb2.GetOrCreateDirectResponse:
        """The 1-1 conversation with a user, made if need be."""
        me, peer = call.caller.user_id, request.peer_id
        if me == peer:
            raise PeerIsSelf("a 1-1 conversation needs another user")
        await self._contacts.check_exist([peer])
        conversation_id = direct_id(me, peer)
        if await self._contacts.is_blocked(me, peer):
            raise Blocked("one of the two has blocked the other")
        # Whoever asks first makes it; the id of the conversation serves as that of the request.
        creation = Creation(conversation_id, me, bytes.fromhex(conversation_id), (me, peer), "")
        await self._owners.create_and_wait(creation)
        return conversation_pb2.GetOrCreateDirectResponse(
            conversation=await describe_conversation(self._history, me, conversation_id)
        )

    async def CreateGroup(
        self, request: conversation_pb2.CreateGroupRequest, call: Call
    ) -> conversation_pb2.CreateGroupResponse:
        """A group with the caller as its admin."""
        me, request_id = call.caller.user_id, UUID(request.request_id)
        check_id_time(request_id, self._clock.now_ms())
        members = {me, *request.member_ids}
        if len(members) > self._limits.group_members:
            raise GroupTooLarge(f"a group may have {self._limits.group_members} members")
        await self._contacts.check_may_be_added(me, request.member_ids)
        conversation_id = group_id(me, request.request_id)
        creation = Creation(conversation_id, me, request_id.bytes, tuple(members), request.title)
        await self._owners.create_and_wait(creation)
        return conversation_pb2.CreateGroupResponse(
            conversation=await describe_conversation(self._history, me, conversation_id)
        )

    async def GetConversation(
        self, request: conversation_pb2.GetConversationRequest, call: Call
    ) -> conversation_pb2.GetConversationResponse:
        """One conversation with its members."""
        seen = await describe_conversation(self._history, call.caller.user_id, request.conversation_id)
        return conversation_pb2.GetConversationResponse(conversation=seen)

    async def ListConversations(
        self, request: conversation_pb2.ListConversationsRequest, call: Call
    ) -> conversation_pb2.ListConversationsResponse:
        """The caller's conversations, in order of id."""
        me, size = call.caller.user_id, request.page_size or CONVERSATIONS_PAGE
        after = decode_page_token(CONVERSATION, request.page_token, ID_PATTERN)
        found, last = await self._history.list_summaries(me, after, size)
        return conversation_pb2.ListConversationsResponse(
            conversations=[encode_conversation(each, me) for each in found],
            next_page_token=encode_page_token(CONVERSATION, last) if last else "",
        )


async def describe_conversation(history: History, user_id: str, conversation_id: str) -> conversation_pb2.Conversation:
    """A conversation as a user sees it. Raises ConversationNotFound."""
    return encode_conversation(await history.summarize(user_id, conversation_id), user_id)
