"""Unary calls selected by request type, which is unique to each call in the contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2
from parley.media.v1 import media_pb2
from parley.notify.v1 import notify_pb2
from parley.presence.v1 import presence_pb2
from tests.raw.refusal import Refusal, of_error
from tests.raw.stream import Metadata

FILES = (account_pb2, chat_pb2, conversation_pb2, media_pb2, notify_pb2, presence_pb2)
PATIENCE = 20.0


def services() -> Iterator[ServiceDescriptor]:
    """Return all public services."""
    for file in FILES:
        yield from file.DESCRIPTOR.services_by_name.values()


METHODS: dict[str, MethodDescriptor] = {
    method.input_type.full_name: method for service in services() for method in service.methods
}


async def call(channel: grpc.aio.Channel, request: Message, metadata: Metadata = (), timeout: float = PATIENCE) -> Any:
    """Return the response of a unary call. Raises AioRpcError."""
    method = METHODS[request.DESCRIPTOR.full_name]
    call: Any = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    return await call(request.SerializeToString(), metadata=metadata, timeout=timeout)


async def refused(channel: grpc.aio.Channel, request: Message, metadata: Metadata = ()) -> Refusal:
    """Return the refusal of a unary call. Raises AssertionError if it succeeds."""
    try:
        answer = await call(channel, request, metadata)
    except grpc.aio.AioRpcError as error:
        return of_error(error)
    raise AssertionError(f"not refused, but answered: {answer}")
