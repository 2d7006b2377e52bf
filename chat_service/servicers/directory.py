"""DirectoryService: memberships, relations, devices and references to media, for the other services."""

from __future__ import annotations

from typing import Final, Protocol

from chat_service.directory.media_access import MediaAccess
from chat_service.directory.notifications import NotificationContextReader
from chat_service.directory.relations import RelationReader
from chat_service.history.history import History
from chat_service.model.delivery import Foreground
from chat_service.retention.ports import SignedInDevices
from chat_service.wire.directory import encode_context, encode_foreground, encode_interval, encode_relations
from parley.internal.v1 import directory_pb2
from servicekit.page_tokens import ID_POSITION, decode_page_token, next_page_token
from servicekit.rpc import Call

DEFAULT_MEMBERS_PAGE: Final = 100


class Homes(Protocol):
    """The homes of users."""

    async def describe_foreground(self, user_id: str) -> Foreground:
        """Return the devices of a user in the foreground. Raise OwnerUnavailable."""


class LoginNames(Protocol):
    """The login names of users."""

    async def find_user_id(self, login_name: str) -> str | None:
        """Return the user with this login name, in lower case; None if there is none. Raise StoreUnavailable."""


class DirectoryServicer:
    """Serves DirectoryService."""

    def __init__(
        self,
        history: History,
        media: MediaAccess,
        relations: RelationReader,
        notifications: NotificationContextReader,
        devices: SignedInDevices,
        homes: Homes,
        login_names: LoginNames,
    ) -> None:
        self._history = history
        self._media = media
        self._relations = relations
        self._notifications = notifications
        self._devices = devices
        self._homes = homes
        self._login_names = login_names

    async def CheckMembership(
        self, request: directory_pb2.CheckMembershipRequest, _: Call
    ) -> directory_pb2.CheckMembershipResponse:
        """Return the intervals in which a user is or was a member."""
        conversation = await self._history.load_conversation(request.conversation_id)
        if conversation is None:
            return directory_pb2.CheckMembershipResponse()
        return directory_pb2.CheckMembershipResponse(
            member=request.user_id in conversation.members,
            intervals=map(encode_interval, conversation.visible_intervals(request.user_id)),
        )

    async def CheckMediaAccess(
        self, request: directory_pb2.CheckMediaAccessRequest, _: Call
    ) -> directory_pb2.CheckMediaAccessResponse:
        """Return whether something that a user may see refers to a file."""
        allowed = await self._media.is_allowed(request.user_id, request.media_id)
        return directory_pb2.CheckMediaAccessResponse(allowed=allowed)

    async def ListMediaReferences(
        self, request: directory_pb2.ListMediaReferencesRequest, _: Call
    ) -> directory_pb2.ListMediaReferencesResponse:
        """Return the files of the request to which anything refers."""
        referenced = await self._media.filter_referenced(request.media_ids)
        return directory_pb2.ListMediaReferencesResponse(referenced_media_ids=referenced)

    async def GetRelations(
        self, request: directory_pb2.GetRelationsRequest, _: Call
    ) -> directory_pb2.GetRelationsResponse:
        """Return the relations of a user to other users."""
        [relations] = await self._relations.load_relations([(request.user_id, request.other_user_ids)])
        return encode_relations(relations)

    async def BatchGetRelations(
        self, request: directory_pb2.BatchGetRelationsRequest, _: Call
    ) -> directory_pb2.BatchGetRelationsResponse:
        """Return the relations of several users to other users."""
        requests = [(each.user_id, each.other_user_ids) for each in request.requests]
        relations = await self._relations.load_relations(requests)
        return directory_pb2.BatchGetRelationsResponse(responses=map(encode_relations, relations))

    async def DescribeConversation(
        self, request: directory_pb2.DescribeConversationRequest, _: Call
    ) -> directory_pb2.DescribeConversationResponse:
        """Return what a notification about a conversation needs."""
        context = await self._notifications.load_context(
            request.conversation_id,
            request.sender_id,
            request.recipient_ids,
            request.target_seqs,
            request.newest_seq,
            request.message_seqs,
        )
        return encode_context(context)

    async def CheckDevices(
        self, request: directory_pb2.CheckDevicesRequest, _: Call
    ) -> directory_pb2.CheckDevicesResponse:
        """Return the devices of the request that are signed in."""
        signed_in = (await self._devices.load_signed_in([request.user_id])).get(request.user_id, {})
        return directory_pb2.CheckDevicesResponse(
            active_device_ids=[each for each in request.device_ids if each in signed_in]
        )

    async def DescribeForeground(
        self, request: directory_pb2.DescribeForegroundRequest, _: Call
    ) -> directory_pb2.DescribeForegroundResponse:
        """Return the devices of a user in the foreground."""
        return encode_foreground(await self._homes.describe_foreground(request.user_id))

    async def ListMembers(
        self, request: directory_pb2.ListMembersRequest, _: Call
    ) -> directory_pb2.ListMembersResponse:
        """Return the members of a conversation, in order of id."""
        size, after = request.page_size or DEFAULT_MEMBERS_PAGE, decode_page_token(request, ID_POSITION)
        conversation = await self._history.load_conversation(request.conversation_id)
        if conversation is None:
            return directory_pb2.ListMembersResponse()
        members = sorted(user for user in conversation.members if user > after)
        return directory_pb2.ListMembersResponse(
            user_ids=members[:size],
            next_page_token=next_page_token(request, members, size, str),
            member_seq=conversation.applied_seq,
        )

    async def FindUser(self, request: directory_pb2.FindUserRequest, _: Call) -> directory_pb2.FindUserResponse:
        """Return the user with a login name."""
        user_id = await self._login_names.find_user_id(request.login_name.lower())
        return directory_pb2.FindUserResponse(user_id=user_id or "")
