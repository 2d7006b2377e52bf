"""A caller of DirectoryService with the credential of the services, which are the only ones to call it."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from devstack.stack import Stack
from parley.internal.v1 import directory_pb2
from servicekit.auth import ServiceCredential
from tests.raw.calls import PATIENCE
from tests.raw.device import RawDevice
from tests.raw.refusal import Refusal, of_error
from tests.raw.stream import Metadata
from tests.raw.world import World

METHODS = {
    method.input_type.full_name: method
    for method in directory_pb2.DESCRIPTOR.services_by_name["DirectoryService"].methods
}


class Directory:
    """The directory of one chat server, by default the first."""

    def __init__(self, world: World, server: int = 0) -> None:
        self._channel = world.channel(world.stack.chat_servers[server].internal_address)
        self._metadata: Metadata = credential_of(world.stack)

    async def call(self, request: Message, metadata: Metadata | None = None) -> Any:
        """Return the response to a request. Raises AioRpcError."""
        return await call(self._channel, request, self._metadata if metadata is None else metadata)

    async def refusal(self, request: Message, metadata: Metadata | None = None) -> Refusal:
        """Return the refusal of a request. Raises AssertionError if it succeeds."""
        try:
            answer = await self.call(request, metadata)
        except grpc.aio.AioRpcError as error:
            return of_error(error)
        raise AssertionError(f"not refused, but answered: {answer}")

    async def membership(self, conversation_id: str, user: RawDevice) -> tuple[bool, list[tuple[int, int]]]:
        """Return whether a user is a member of a conversation, and the intervals of the membership."""
        request = directory_pb2.CheckMembershipRequest(conversation_id=conversation_id, user_id=user.user_id)
        found = await self.call(request)
        return found.member, [(each.first_seq, each.last_seq) for each in found.intervals]

    async def members(self, conversation_id: str) -> list[str]:
        """Return the members of a conversation."""
        found = await self.call(directory_pb2.ListMembersRequest(conversation_id=conversation_id))
        return list(found.user_ids)

    async def relation(self, user: RawDevice, other: RawDevice) -> directory_pb2.Relation:
        """Return the relation of one user to another, without the other's id."""
        request = directory_pb2.GetRelationsRequest(user_id=user.user_id, other_user_ids=[other.user_id])
        [relation] = (await self.call(request)).relations
        assert relation.other_user_id == other.user_id
        relation.ClearField("other_user_id")
        assert isinstance(relation, directory_pb2.Relation)
        return relation

    async def active_devices(self, user: RawDevice, *devices: RawDevice) -> list[str]:
        """Return which devices of a user are signed in."""
        ids = [each.device_id for each in devices]
        request = directory_pb2.CheckDevicesRequest(user_id=user.user_id, device_ids=ids)
        return list((await self.call(request)).active_device_ids)

    async def allows(self, user: RawDevice, media_id: str) -> bool:
        """Return whether a user may see a file."""
        request = directory_pb2.CheckMediaAccessRequest(user_id=user.user_id, media_id=media_id)
        return bool((await self.call(request)).allowed)

    async def referenced(self, *media_ids: str) -> list[str]:
        """Return which files are referenced."""
        found = await self.call(directory_pb2.ListMediaReferencesRequest(media_ids=media_ids))
        return list(found.referenced_media_ids)

    async def describe(
        self, conversation_id: str, sender: RawDevice, *recipients: RawDevice
    ) -> directory_pb2.DescribeConversationResponse:
        """Return the context of a notification."""
        request = directory_pb2.DescribeConversationRequest(
            conversation_id=conversation_id,
            sender_id=sender.user_id,
            recipient_ids=[each.user_id for each in recipients],
        )
        described = await self.call(request)
        assert isinstance(described, directory_pb2.DescribeConversationResponse)
        return described


async def call(channel: grpc.aio.Channel, request: Message, metadata: Metadata) -> Any:
    """Return the response of a call to DirectoryService. Raises AioRpcError."""
    method = METHODS[request.DESCRIPTOR.full_name]
    unary: Any = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    return await unary(request.SerializeToString(), metadata=metadata, timeout=PATIENCE)


def credential_of(stack: Stack) -> Metadata:
    """Return the metadata of a service of the stack."""
    return ServiceCredential.from_file(stack.layout.secrets.credential).metadata()
