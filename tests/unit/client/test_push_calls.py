"""Calls of push to a NotifyService in this process: pages of tokens, and which calls are repeated."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from parley.notify.v1 import notify_pb2, notify_pb2_grpc
from parley_client import Client, Door, MemoryStore, Session, TryLater
from servicekit.errors import StoreUnavailable
from servicekit.status import to_grpc

DEVICES = [letter * 32 for letter in "bcd"]


class NotifyServer(notify_pb2_grpc.NotifyServiceServicer):
    """The servicer, and the client of it; `refusals` are the statuses with which the next calls end."""

    def __init__(self) -> None:
        self.refusals: list[Any] = []
        self.calls: list[Any] = []
        self.client: Client

    async def SendTestPush(
        self, request: notify_pb2.SendTestPushRequest, context: Any
    ) -> notify_pb2.SendTestPushResponse:
        await self._begin(request, context)
        return notify_pb2.SendTestPushResponse()

    async def ListPushDecisions(
        self, request: notify_pb2.ListPushDecisionsRequest, context: Any
    ) -> notify_pb2.ListPushDecisionsResponse:
        await self._begin(request, context)
        return notify_pb2.ListPushDecisionsResponse()

    async def ListPushTokens(
        self, request: notify_pb2.ListPushTokensRequest, context: Any
    ) -> notify_pb2.ListPushTokensResponse:
        """Return one token a page; the token of a page is the number of the next one."""
        await self._begin(request, context)
        index = int(request.page_token or 0)
        last = index + 1 == len(DEVICES)
        return notify_pb2.ListPushTokensResponse(
            push_tokens=[notify_pb2.PushToken(device_id=DEVICES[index])], next_page_token="" if last else str(index + 1)
        )

    async def _begin(self, request: Any, context: Any) -> None:
        self.calls.append(request)
        if self.refusals:
            await context.abort_with_status(self.refusals.pop(0))


class LostConnection(grpc.Status):
    """The status of a call whose connection broke: it has no reason."""

    code = grpc.StatusCode.UNAVAILABLE
    details = "Socket closed"
    trailing_metadata = ()


@pytest.fixture
async def server() -> AsyncIterator[NotifyServer]:
    """A NotifyService with a client that is signed in."""
    server = NotifyServer()  # type: ignore[abstract]  # the other calls have no part in this
    rpc = grpc.aio.server()
    notify_pb2_grpc.add_NotifyServiceServicer_to_server(server, rpc)
    door = f"127.0.0.1:{rpc.add_insecure_port('127.0.0.1:0')}"
    store = MemoryStore()
    store.save(Session("a" * 32, "b" * 32, "alice", "token", time.time() + 3600, "", door=Door(door)))
    await rpc.start()
    try:
        async with Client(door, store=store, retry_timeout_s=5.0) as server.client:
            yield server
    finally:
        await rpc.stop(None)


async def test_all_pages_of_tokens_are_listed(server: NotifyServer) -> None:
    assert [each.device_id for each in await server.client.push.list_tokens()] == DEVICES
    assert [each.page_token for each in server.calls] == ["", "1", "2"]


async def test_test_push_is_not_repeated_after_a_lost_connection(server: NotifyServer) -> None:
    server.refusals = [LostConnection()]
    with pytest.raises(TryLater, match="Socket closed"):
        await server.client.push.send_test()
    assert len(server.calls) == 1, "the devices may have got it"


async def test_test_push_that_the_server_refused_is_repeated(server: NotifyServer) -> None:
    server.refusals = [to_grpc(StoreUnavailable())]
    assert await server.client.push.send_test() == []
    assert len(server.calls) == 2


async def test_idempotent_call_is_repeated_after_a_lost_connection(server: NotifyServer) -> None:
    server.refusals = [LostConnection()]
    assert await server.client.push.list_decisions() == []
    assert len(server.calls) == 2
