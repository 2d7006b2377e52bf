"""ConversationService: making and reading conversations, changing them for all, and the personal settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from chat_service.errors import Blocked, GroupTooLarge, Invalid, PeerIsSelf, UserNotFound
from chat_service.history.history import History
from chat_service.model.entry import ConversationUpdated, MembershipChanged, MembershipKind, Role
from chat_service.model.ids import direct_id, group_id
from chat_service.model.requests import Creation
from chat_service.model.retention import RetentionRule
from chat_service.servicers.dependencies import Dependencies, DraftAppender
from chat_service.wire.changes import decode_retention
from chat_service.wire.conversations import ID_PATTERN, decode_page_token, encode_conversation, encode_page_token
from chat_service.wire.requests import check_id_time
from parley.chat.v1 import conversation_pb2
from servicekit.failure import Violation
from servicekit.rpc import Call

CONVERSATIONS_PAGE: Final = 50
CONVERSATION: Final = "conversation"
MIN_RETENTION_S: Final = 24 * 3600
MAX_RETENTION_S: Final = 100 * 366 * 24 * 3600


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


class ConversationServicer:
    """Serves ConversationService."""

    def __init__(self, dependencies: Dependencies, users: UserChecks) -> None:
        self._owners = dependencies.owners
        self._history = dependencies.history
        self._personal = dependencies.personal
        self._limits = dependencies.limits
        self._clock = dependencies.clock
        self._users = users
        self._append = DraftAppender(dependencies).append

    async def GetOrCreateDirect(
        self, request: conversation_pb2.GetOrCreateDirectRequest, call: Call
    ) -> conversation_pb2.GetOrCreateDirectResponse:
        """The 1-1 conversation with a user, made if need be."""
        me, peer = call.caller.user_id, request.peer_id
        if me == peer:
            raise PeerIsSelf("a 1-1 conversation needs another user")
        await self._users.check_exist([peer])
        conversation_id = direct_id(me, peer)
        if await self._users.is_blocked(me, peer):
            raise Blocked("one of the two users has blocked the other")
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
            raise GroupTooLarge(f"a group may have at most {self._limits.group_members} members")
        await self._users.check_may_be_added(me, request.member_ids)
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

    async def UpdateConversation(
        self, request: conversation_pb2.UpdateConversationRequest, call: Call
    ) -> conversation_pb2.UpdateConversationResponse:
        """Changes title, picture and settings of a group."""
        change = ConversationUpdated(
            request.title if request.HasField("title") else None,
            request.picture_media_id if request.HasField("picture_media_id") else None,
            request.admins_only_send if request.HasField("admins_only_send") else None,
        )
        if change == ConversationUpdated():
            raise Invalid("nothing is to be changed", violations=(Violation("title", "set at least one field"),))
        await self._append(call, request.conversation_id, request.request_id, change)
        seen = await describe_conversation(self._history, call.caller.user_id, request.conversation_id)
        return conversation_pb2.UpdateConversationResponse(conversation=seen)

    async def AddMembers(
        self, request: conversation_pb2.AddMembersRequest, call: Call
    ) -> conversation_pb2.AddMembersResponse:
        """Adds users to a group."""
        me = call.caller.user_id
        sight = await self._history.load_visible(me, request.conversation_id)
        there = sight.conversation.members.keys() & set(request.member_ids)
        await self._users.check_may_be_added(me, set(request.member_ids) - there)
        members = tuple((user, Role.MEMBER) for user in sorted(request.member_ids))
        change = MembershipChanged(MembershipKind.ADDED, members)
        await self._append(call, request.conversation_id, request.request_id, change, frozenset(there))
        return conversation_pb2.AddMembersResponse(
            conversation=await describe_conversation(self._history, me, request.conversation_id)
        )

    async def RemoveMember(
        self, request: conversation_pb2.RemoveMemberRequest, call: Call
    ) -> conversation_pb2.RemoveMemberResponse:
        """Removes a user from a group."""
        change = MembershipChanged(MembershipKind.REMOVED, ((request.user_id, Role.MEMBER),))
        await self._append(call, request.conversation_id, request.request_id, change)
        return conversation_pb2.RemoveMemberResponse()

    async def LeaveGroup(
        self, request: conversation_pb2.LeaveGroupRequest, call: Call
    ) -> conversation_pb2.LeaveGroupResponse:
        """Ends the caller's membership."""
        change = MembershipChanged(MembershipKind.LEFT, ((call.caller.user_id, Role.MEMBER),))
        await self._append(call, request.conversation_id, request.request_id, change)
        return conversation_pb2.LeaveGroupResponse()

    async def SetRole(self, request: conversation_pb2.SetRoleRequest, call: Call) -> conversation_pb2.SetRoleResponse:
        """Changes what a member may do."""
        change = MembershipChanged(MembershipKind.ROLE_CHANGED, ((request.user_id, Role(request.role)),))
        await self._append(call, request.conversation_id, request.request_id, change)
        return conversation_pb2.SetRoleResponse()

    async def SetRetention(
        self, request: conversation_pb2.SetRetentionRequest, call: Call
    ) -> conversation_pb2.SetRetentionResponse:
        """Changes how long the content is kept."""
        retention = decode_retention(request.retention)
        if retention.rule is RetentionRule.MAX_AGE and not MIN_RETENTION_S <= retention.max_age_s <= MAX_RETENTION_S:
            raise Invalid(
                "content is kept for a day at least, and for a hundred years at most",
                violations=(Violation("retention.max_age", f"{MIN_RETENTION_S} s to {MAX_RETENTION_S} s"),),
            )
        change = ConversationUpdated(retention=retention)
        await self._append(call, request.conversation_id, request.request_id, change)
        return conversation_pb2.SetRetentionResponse()

    async def SetMute(self, request: conversation_pb2.SetMuteRequest, call: Call) -> conversation_pb2.SetMuteResponse:
        """Silences pushes of a conversation, or not."""
        try:
            until_ms = request.mute_until_time.ToMilliseconds() if request.HasField("mute_until_time") else 0
        except ValueError:
            raise Invalid(
                "no such time", violations=(Violation("mute_until_time", "must be between the years 1 and 9999"),)
            ) from None
        await self._personal.mute(call.caller.user_id, request.conversation_id, until_ms)
        return conversation_pb2.SetMuteResponse()

    async def SetPinned(
        self, request: conversation_pb2.SetPinnedRequest, call: Call
    ) -> conversation_pb2.SetPinnedResponse:
        """Keeps a conversation at the top of the list, or not."""
        await self._personal.pin(call.caller.user_id, request.conversation_id, request.pinned)
        return conversation_pb2.SetPinnedResponse()

    async def SetArchived(
        self, request: conversation_pb2.SetArchivedRequest, call: Call
    ) -> conversation_pb2.SetArchivedResponse:
        """Puts a conversation out of the main list, or back."""
        await self._personal.archive(call.caller.user_id, request.conversation_id, request.archived)
        return conversation_pb2.SetArchivedResponse()


async def describe_conversation(history: History, user_id: str, conversation_id: str) -> conversation_pb2.Conversation:
    """A conversation as a user sees it. Raises ConversationNotFound."""
    return encode_conversation(await history.summarize(user_id, conversation_id), user_id)
