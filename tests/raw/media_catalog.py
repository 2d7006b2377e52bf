"""A caller of MediaCatalogService with the credential of the services, which are the only ones to call it."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from parley.internal.v1 import media_pb2
from tests.raw.calls import PATIENCE
from tests.raw.device import RawDevice
from tests.raw.directory import credential_of
from tests.raw.refusal import Refusal, of_error
from tests.raw.stream import Metadata
from tests.raw.world import World

METHODS = {
    method.input_type.full_name: method
    for method in media_pb2.DESCRIPTOR.services_by_name["MediaCatalogService"].methods
}


class Catalog:
    """The catalog of the first media server."""

    def __init__(self, world: World) -> None:
        self._channel = world.channel(world.stack.replicas("media")[0].internal_address)
        self._metadata: Metadata = credential_of(world.stack)

    async def call(self, request: Message, metadata: Metadata | None = None) -> Any:
        """Return the response to a request. Raises AioRpcError."""
        method = METHODS[request.DESCRIPTOR.full_name]
        unary: Any = self._channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        credential = self._metadata if metadata is None else metadata
        return await unary(request.SerializeToString(), metadata=credential, timeout=PATIENCE)

    async def refusal(self, request: Message, metadata: Metadata | None = None) -> Refusal:
        """Return the refusal of a request. Raises AssertionError if it succeeds."""
        try:
            answer = await self.call(request, metadata)
        except grpc.aio.AioRpcError as error:
            return of_error(error)
        raise AssertionError(f"not refused, but answered: {answer}")

    async def claim(self, user: RawDevice, *media_ids: str) -> list[media_pb2.ClaimedMedia]:
        """Claim files for a user."""
        response = await self.call(media_pb2.ClaimRequest(user_id=user.user_id, media_ids=media_ids))
        return list(response.files)
