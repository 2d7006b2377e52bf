"""The calls of ConversationService that change a conversation for all: members, roles, title, settings."""

from __future__ import annotations

from typing import Final

from chat_service.errors import Invalid
from chat_service.model.entry import ConversationUpdated, MembershipChanged, MembershipKind, Role
from chat_service.model.retention import RetentionRule
from chat_service.servicers.changing import ChangingCalls
from chat_service.servicers.conversations import UserChecks, describe_conversation
from chat_service.servicers.roles import Dependencies
from chat_service.wire.changes import decode_retention
from parley.chat.v1 import conversation_pb2
from servicekit.failure import Violation
from servicekit.rpc import Call

MIN_RETENTION_S: Final = 24 * 3600
MAX_RETENTION_S: Final = 100 * 366 * 24 * 3600


class GroupCalls(ChangingCalls):
    """Each is one entry of the log; the owner decides whether it may be."""

    def __init__(self, roles: Dependencies, contacts: UserChecks) -> None:
        super().__init__(roles)
        self._contacts = contacts

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
        await self._contacts.check_may_be_added(me, set(request.member_ids) - there)
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
