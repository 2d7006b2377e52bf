"""The few unary calls that scenes need, by stubs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import grpc
import uuid_utils

from bench.load.device import Identity
from devstack.errors import Trouble
from parley.chat.v1 import chat_pb2, chat_pb2_grpc, conversation_pb2, conversation_pb2_grpc

CALL_S: Final = 20.0
LOCATE_S: Final = 2.0
OPTIONS: Final = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))

Answer = TypeVar("Answer")


def direct(door: str, couples: Sequence[tuple[Identity, Identity]]) -> list[str]:
    """The ids of the conversations of couples. Raises Trouble."""

    async def ask(channel: grpc.aio.Channel) -> list[str]:
        stub = conversation_pb2_grpc.ConversationServiceStub(channel)
        answers = [
            await stub.GetOrCreateDirect(
                conversation_pb2.GetOrCreateDirectRequest(peer_id=other.user_id), metadata=_shown(one), timeout=CALL_S
            )
            for one, other in couples
        ]
        return [each.conversation.conversation_id for each in answers]

    return _asked(door, ask)


def group(door: str, founder: Identity, others: Sequence[Identity]) -> str:
    """The id of a new group. Raises Trouble."""

    async def ask(channel: grpc.aio.Channel) -> str:
        request = conversation_pb2.CreateGroupRequest(
            request_id=str(uuid_utils.uuid7()), title="bench", member_ids=[each.user_id for each in others]
        )
        stub = conversation_pb2_grpc.ConversationServiceStub(channel)
        answer = await stub.CreateGroup(request, metadata=_shown(founder), timeout=CALL_S)
        return answer.conversation.conversation_id

    return _asked(door, ask)


def homes(server: str, users: Sequence[Identity]) -> list[str]:
    """The homes of users as one server sees them. Raises Trouble."""

    async def ask(channel: grpc.aio.Channel) -> list[str]:
        stub = chat_pb2_grpc.ChatServiceStub(channel)
        request = chat_pb2.LocateRequest()
        return [(await stub.Locate(request, metadata=_shown(each), timeout=LOCATE_S)).home for each in users]

    return _asked(server, ask)


def _asked(address: str, ask: Callable[[grpc.aio.Channel], Awaitable[Answer]]) -> Answer:
    async def with_channel() -> Answer:
        async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
            return await ask(channel)

    try:
        return asyncio.run(with_channel())
    except grpc.aio.AioRpcError as error:
        raise Trouble(f"A call of the bench was refused: {error.code().name}: {error.details()}.") from None


def _shown(who: Identity) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {who.token}"),)
