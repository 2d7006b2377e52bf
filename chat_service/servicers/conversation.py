"""ConversationService: making, reading and listing conversations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final
from uuid import UUID

from chat_service.errors import GroupTooLarge, PeerIsSelf, UserNotFound
from chat_service.history.history import History
from chat_service.limits import Limits
from chat_service.mesh.owners import Owners
from chat_service.model.creation import Creation
from chat_service.model.ids import direct_id, group_id
from chat_service.wire.conversations import AN_ID, conversation, page_token, read_page_token
from chat_service.wire.requests import made_at
from parley.chat.v1 import conversation_pb2
from servicekit.clock import Clock
from servicekit.rpc import Call

NOT_YET_SERVED: Final = frozenset(
    {
        "UpdateConversation",
        "AddMembers",
        "RemoveMember",
        "LeaveGroup",
        "SetRole",
        "SetMute",
        "SetPinned",
        "SetArchived",
        "SetRetention",
    }
)
DEFAULT_PAGE: Final = 50
CONVERSATION: Final = "conversation"

UsersExist = Callable[[Collection[str]], Awaitable[set[str]]]


class ConversationServicer:
    """Serves ConversationService."""

    def __init__(self, owners: Owners, history: History, users_exist: UsersExist, limits: Limits, clock: Clock) -> None:
        self._owners = owners
        self._history = history
        self._users_exist = users_exist
        self._limits = limits
        self._clock = clock

    async def GetOrCreateDirect(
        self, request: conversation_pb2.GetOrCreateDirectRequest, call: Call
    ) -> conversation_pb2.GetOrCreateDirectResponse:
        """The 1-1 conversation with a user, made if need be."""
        me, peer = call.caller.user_id, request.peer_id
        if me == peer:
            raise PeerIsSelf("a 1-1 conversation needs another user")
        await self._check_users([peer])
        conversation_id = direct_id(me, peer)
        # Whoever asks first makes it; the id of the conversation serves as that of the request.
        creation = Creation(conversation_id, me, bytes.fromhex(conversation_id), (me, peer), "")
        await self._owners.create(creation)
        return conversation_pb2.GetOrCreateDirectResponse(conversation=await self._shown(me, conversation_id))

    async def CreateGroup(
        self, request: conversation_pb2.CreateGroupRequest, call: Call
    ) -> conversation_pb2.CreateGroupResponse:
        """A group with the caller as its admin."""
        me, request_id = call.caller.user_id, UUID(request.request_id)
        made_at(request_id, self._clock.now_ms())
        members = {me, *request.member_ids}
        if len(members) > self._limits.group_members:
            raise GroupTooLarge(f"a group may have {self._limits.group_members} members")
        await self._check_users(request.member_ids)
        conversation_id = group_id(me, request.request_id)
        creation = Creation(conversation_id, me, request_id.bytes, tuple(members), request.title)
        await self._owners.create(creation)
        return conversation_pb2.CreateGroupResponse(conversation=await self._shown(me, conversation_id))

    async def GetConversation(
        self, request: conversation_pb2.GetConversationRequest, call: Call
    ) -> conversation_pb2.GetConversationResponse:
        """One conversation with its members."""
        shown = await self._shown(call.caller.user_id, request.conversation_id)
        return conversation_pb2.GetConversationResponse(conversation=shown)

    async def ListConversations(
        self, request: conversation_pb2.ListConversationsRequest, call: Call
    ) -> conversation_pb2.ListConversationsResponse:
        """The caller's conversations, in order of id."""
        me, size = call.caller.user_id, request.page_size or DEFAULT_PAGE
        after = read_page_token(CONVERSATION, request.page_token, AN_ID)
        found, last = await self._history.overviews(me, after, size)
        return conversation_pb2.ListConversationsResponse(
            conversations=[conversation(each, me) for each in found],
            next_page_token=page_token(CONVERSATION, last) if last else "",
        )

    async def _shown(self, user_id: str, conversation_id: str) -> conversation_pb2.Conversation:
        return conversation(await self._history.overview(user_id, conversation_id), user_id)

    async def _check_users(self, user_ids: Sequence[str]) -> None:
        missing = set(user_ids) - await self._users_exist(user_ids)
        if missing:
            raise UserNotFound("no such user", metadata={"user_id": min(missing)})
