"""ConversationService: conversations, their members and settings, and a user's personal settings of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from chat_service.errors import Blocked, ConversationNotFound, GroupTooLarge, PeerIsSelf, UserNotFound
from chat_service.history.history import History
from chat_service.model.entry import ConversationUpdated, MembershipChanged, MembershipKind, Role
from chat_service.model.ids import direct_id, group_id
from chat_service.model.names import normalize_name
from chat_service.model.requests import Creation
from chat_service.model.retention import RetentionRule
from chat_service.servicers.dependencies import Dependencies, DraftAppender, claim_picture
from chat_service.wire.changes import decode_retention
from chat_service.wire.conversations import encode_conversation
from chat_service.wire.requests import check_id_time
from parley.chat.v1 import conversation_pb2
from servicekit.errors import Invalid
from servicekit.failure import Violation
from servicekit.page_tokens import ID_POSITION, decode_page_token, encode_page_token
from servicekit.rpc import Call

DEFAULT_PAGE: Final = 50
MIN_RETENTION_S: Final = 24 * 3600
MAX_RETENTION_S: Final = 100 * 366 * 24 * 3600


@dataclass(frozen=True, slots=True)
class UserChecks:
    """Checks of the users that a request names.

    `filter_existing` returns the users that exist; `is_blocked`, whether one of two users blocks the other;
    `find_refusing`, the users that its first argument may not add to a group; `count_reached` raises RateLimited if its
    first argument reaches too many strangers, or one of the users is reached by too many.
    """

    filter_existing: Callable[[Collection[str]], Awaitable[set[str]]]
    is_blocked: Callable[[str, str], Awaitable[bool]]
    find_refusing: Callable[[str, Collection[str]], Awaitable[set[str]]]
    count_reached: Callable[[str, Collection[str]], Awaitable[None]]

    async def check_exist(self, user_ids: Collection[str]) -> None:
        """Raise UserNotFound if one of the users does not exist."""
        if missing := set(user_ids) - await self.filter_existing(user_ids):
            raise UserNotFound("user not found", metadata={"user_id": min(missing)})

    async def check_may_be_added(self, adder_id: str, user_ids: Collection[str]) -> None:
        """Raise UserNotFound if a user does not exist, Blocked if a user may not be added by `adder_id`."""
        await self.check_exist(user_ids)
        if refusing := await self.find_refusing(adder_id, user_ids):
            raise Blocked("the user does not let you add them to groups", metadata={"user_id": min(refusing)})


class ConversationServicer:
    """Serves ConversationService."""

    def __init__(self, dependencies: Dependencies, users: UserChecks) -> None:
        self._owners = dependencies.owners
        self._history = dependencies.history
        self._personal = dependencies.personal
        self._catalog = dependencies.catalog
        self._limits = dependencies.limits
        self._clock = dependencies.clock
        self._users = users
        self._append = DraftAppender(dependencies).append

    async def GetOrCreateDirect(
        self, request: conversation_pb2.GetOrCreateDirectRequest, call: Call
    ) -> conversation_pb2.GetOrCreateDirectResponse:
        """Return the 1-1 conversation of the caller and a user, created if it does not exist."""
        me, peer = call.caller.user_id, request.peer_id
        if me == peer:
            raise PeerIsSelf("peer_id must be another user")
        await self._users.check_exist([peer])
        conversation_id = direct_id(me, peer)
        if await self._users.is_blocked(me, peer):
            raise Blocked("one of the two users has blocked the other")
        # Either user may create it: a request id made from the conversation makes the creations of both the same.
        if not await self._exists(me, conversation_id):
            await self._users.count_reached(me, [peer])
        creation = Creation(conversation_id, me, bytes.fromhex(conversation_id), (me, peer), "")
        await self._owners.create_and_wait(creation)
        return conversation_pb2.GetOrCreateDirectResponse(
            conversation=await describe_conversation(self._history, me, conversation_id)
        )

    async def CreateGroup(
        self, request: conversation_pb2.CreateGroupRequest, call: Call
    ) -> conversation_pb2.CreateGroupResponse:
        """Create a group with the caller as its admin."""
        me, request_id = call.caller.user_id, UUID(request.request_id)
        check_id_time(request_id, self._clock.now_ms())
        members = {me, *request.member_ids}
        if len(members) == 1:
            violation = Violation("member_ids", "must name a user other than the caller")
            raise Invalid("a group has at least two members", violations=(violation,))
        if len(members) > self._limits.group_members:
            raise GroupTooLarge(f"a group has at most {self._limits.group_members} members")
        await self._users.check_may_be_added(me, request.member_ids)
        conversation_id = group_id(me, request.request_id)
        if not await self._exists(me, conversation_id):
            await self._users.count_reached(me, request.member_ids)
        creation = Creation(conversation_id, me, request_id.bytes, tuple(members), normalize_name(request.title))
        await self._owners.create_and_wait(creation)
        return conversation_pb2.CreateGroupResponse(
            conversation=await describe_conversation(self._history, me, conversation_id)
        )

    async def GetConversation(
        self, request: conversation_pb2.GetConversationRequest, call: Call
    ) -> conversation_pb2.GetConversationResponse:
        """Return one conversation with its members."""
        conversation = await describe_conversation(self._history, call.caller.user_id, request.conversation_id)
        return conversation_pb2.GetConversationResponse(conversation=conversation)

    async def ListConversations(
        self, request: conversation_pb2.ListConversationsRequest, call: Call
    ) -> conversation_pb2.ListConversationsResponse:
        """Return the caller's conversations, in order of id."""
        me, size = call.caller.user_id, request.page_size or DEFAULT_PAGE
        after = decode_page_token(request, ID_POSITION)
        found, last = await self._history.list_summaries(me, after, size)
        return conversation_pb2.ListConversationsResponse(
            conversations=[encode_conversation(summary, me) for summary in found],
            next_page_token=encode_page_token(request, last) if last else "",
        )

    async def UpdateConversation(
        self, request: conversation_pb2.UpdateConversationRequest, call: Call
    ) -> conversation_pb2.UpdateConversationResponse:
        """Change the title, picture or settings of a group."""
        change = ConversationUpdated(
            normalize_name(request.title) if request.HasField("title") else None,
            request.picture_media_id if request.HasField("picture_media_id") else None,
            request.admins_only_send if request.HasField("admins_only_send") else None,
        )
        if change == ConversationUpdated():
            raise Invalid("the request changes nothing", violations=(Violation("title", "set at least one field"),))
        await claim_picture(self._catalog, call.caller.user_id, request.picture_media_id)
        await self._append(call, request.conversation_id, request.request_id, change)
        conversation = await describe_conversation(self._history, call.caller.user_id, request.conversation_id)
        return conversation_pb2.UpdateConversationResponse(conversation=conversation)

    async def AddMembers(
        self, request: conversation_pb2.AddMembersRequest, call: Call
    ) -> conversation_pb2.AddMembersResponse:
        """Add users to a group. Members among them need not exist or consent: they are members already."""
        me = call.caller.user_id
        visible = await self._history.load_visible(me, request.conversation_id)
        present = visible.conversation.members.keys() & set(request.member_ids)
        new = set(request.member_ids) - present
        await self._users.check_may_be_added(me, new)
        await self._users.count_reached(me, new)
        members = tuple((user, Role.MEMBER) for user in sorted(request.member_ids))
        change = MembershipChanged(MembershipKind.ADDED, members)
        await self._append(call, request.conversation_id, request.request_id, change, frozenset(present))
        return conversation_pb2.AddMembersResponse(
            conversation=await describe_conversation(self._history, me, request.conversation_id)
        )

    async def RemoveMember(
        self, request: conversation_pb2.RemoveMemberRequest, call: Call
    ) -> conversation_pb2.RemoveMemberResponse:
        """Remove a user from a group."""
        change = MembershipChanged(MembershipKind.REMOVED, ((request.user_id, Role.MEMBER),))
        await self._append(call, request.conversation_id, request.request_id, change)
        return conversation_pb2.RemoveMemberResponse()

    async def LeaveGroup(
        self, request: conversation_pb2.LeaveGroupRequest, call: Call
    ) -> conversation_pb2.LeaveGroupResponse:
        """End the caller's membership in a group."""
        change = MembershipChanged(MembershipKind.LEFT, ((call.caller.user_id, Role.MEMBER),))
        await self._append(call, request.conversation_id, request.request_id, change)
        return conversation_pb2.LeaveGroupResponse()

    async def SetRole(self, request: conversation_pb2.SetRoleRequest, call: Call) -> conversation_pb2.SetRoleResponse:
        """Change the role of a member."""
        change = MembershipChanged(MembershipKind.ROLE_CHANGED, ((request.user_id, Role(request.role)),))
        await self._append(call, request.conversation_id, request.request_id, change)
        return conversation_pb2.SetRoleResponse()

    async def SetMute(self, request: conversation_pb2.SetMuteRequest, call: Call) -> conversation_pb2.SetMuteResponse:
        """Mute the notifications of a conversation until a time, or unmute them."""
        try:
            until_ms = request.mute_until_time.ToMilliseconds() if request.HasField("mute_until_time") else 0
        except ValueError:
            raise Invalid(
                "mute_until_time is out of range",
                violations=(Violation("mute_until_time", "must be between the years 1 and 9999"),),
            ) from None
        await self._personal.mute(call.caller.user_id, request.conversation_id, until_ms)
        return conversation_pb2.SetMuteResponse()

    async def SetPinned(
        self, request: conversation_pb2.SetPinnedRequest, call: Call
    ) -> conversation_pb2.SetPinnedResponse:
        """Pin a conversation to the top of the caller's list, or unpin it."""
        await self._personal.pin(call.caller.user_id, request.conversation_id, request.pinned)
        return conversation_pb2.SetPinnedResponse()

    async def SetArchived(
        self, request: conversation_pb2.SetArchivedRequest, call: Call
    ) -> conversation_pb2.SetArchivedResponse:
        """Move a conversation out of the caller's main list, or back."""
        await self._personal.archive(call.caller.user_id, request.conversation_id, request.archived)
        return conversation_pb2.SetArchivedResponse()

    async def SetRetention(
        self, request: conversation_pb2.SetRetentionRequest, call: Call
    ) -> conversation_pb2.SetRetentionResponse:
        """Change how long the content of a conversation is kept."""
        retention = decode_retention(request.retention)
        if retention.rule is RetentionRule.MAX_AGE and not MIN_RETENTION_S <= retention.max_age_s <= MAX_RETENTION_S:
            raise Invalid(
                "content is kept for at least a day and at most a hundred years",
                violations=(Violation("retention.max_age", f"{MIN_RETENTION_S} s to {MAX_RETENTION_S} s"),),
            )
        change = ConversationUpdated(retention=retention)
        await self._append(call, request.conversation_id, request.request_id, change)
        return conversation_pb2.SetRetentionResponse()

    async def _exists(self, user_id: str, conversation_id: str) -> bool:
        """Return True if a conversation that the user creates exists: the request is a repeat."""
        try:
            await self._history.load_visible(user_id, conversation_id)
        except ConversationNotFound:
            return False
        return True


async def describe_conversation(history: History, user_id: str, conversation_id: str) -> conversation_pb2.Conversation:
    """Return a conversation as a user sees it. Raise ConversationNotFound if the user may not see it."""
    return encode_conversation(await history.summarize(user_id, conversation_id), user_id)
