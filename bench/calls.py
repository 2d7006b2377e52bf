"""The unary calls that prepare a workload."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import grpc
import uuid_utils

from bench.load.device import DeviceIdentity
from devstack.errors import SetupError
from parley.chat.v1 import chat_pb2, chat_pb2_grpc, conversation_pb2, conversation_pb2_grpc

CALL_TIMEOUT_S: Final = 20.0
LOCATE_TIMEOUT_S: Final = 2.0
CHANNEL_OPTIONS: Final = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))

Result = TypeVar("Result")


def create_direct_conversations(door: str, pairs: Sequence[tuple[DeviceIdentity, DeviceIdentity]]) -> list[str]:
    """Create a direct conversation for each pair and return their ids. Raise SetupError if a call fails."""

    async def ask(channel: grpc.aio.Channel) -> list[str]:
        stub = conversation_pb2_grpc.ConversationServiceStub(channel)
        responses = [
            await stub.GetOrCreateDirect(
                conversation_pb2.GetOrCreateDirectRequest(peer_id=other.user_id),
                metadata=_bearer_metadata(one),
                timeout=CALL_TIMEOUT_S,
            )
            for one, other in pairs
        ]
        return [response.conversation.conversation_id for response in responses]

    return _run_with_channel(door, ask)


def create_group(door: str, founder: DeviceIdentity, others: Sequence[DeviceIdentity]) -> str:
    """Create a group and return its id. Raise SetupError if the call fails."""

    async def ask(channel: grpc.aio.Channel) -> str:
        request = conversation_pb2.CreateGroupRequest(
            request_id=str(uuid_utils.uuid7()), title="bench", member_ids=[other.user_id for other in others]
        )
        stub = conversation_pb2_grpc.ConversationServiceStub(channel)
        response = await stub.CreateGroup(request, metadata=_bearer_metadata(founder), timeout=CALL_TIMEOUT_S)
        return response.conversation.conversation_id

    return _run_with_channel(door, ask)


def locate_homes(server: str, users: Sequence[DeviceIdentity]) -> list[str]:
    """Return the homes of users by the ring of one server. Raise SetupError if a call fails."""

    async def ask(channel: grpc.aio.Channel) -> list[str]:
        stub = chat_pb2_grpc.ChatServiceStub(channel)
        request = chat_pb2.LocateRequest()
        return [
            (await stub.Locate(request, metadata=_bearer_metadata(user), timeout=LOCATE_TIMEOUT_S)).home
            for user in users
        ]

    return _run_with_channel(server, ask)


def _run_with_channel(address: str, ask: Callable[[grpc.aio.Channel], Awaitable[Result]]) -> Result:
    async def with_channel() -> Result:
        async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            return await ask(channel)

    try:
        return asyncio.run(with_channel())
    except grpc.aio.AioRpcError as error:
        raise SetupError(f"A call of the benchmark failed: {error.code().name}: {error.details()}.") from None


def _bearer_metadata(user: DeviceIdentity) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {user.token}"),)
