"""Envoy ends a unary call whose request is never complete, and leaves a silent stream open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from devstack.stack import Stack
from tests.integration.devstack.conftest import DoorWithStandIns
from tests.integration.devstack.standin import StandIn
from tests.raw.refusal import of_error

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
# In place of the limits of the configuration.
DURATION = "2s"


@pytest_asyncio.fixture(loop_scope="module")
async def impatient_door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DoorWithStandIns]:
    """Yield an Envoy that ends unary calls after DURATION."""
    server = StandIn()
    await server.start()
    stack = Stack(tmp_path_factory.mktemp("door"), only=["envoy"])
    file = stack.layout.envoy.configuration
    configured = file.read_text()
    for limit in ("max_stream_duration: 35s", "grpc_timeout_header_max: 30s"):
        assert limit in configured
        configured = configured.replace(limit, f"{limit.partition(':')[0]}: {DURATION}")
    file.write_text(configured)
    with stack:
        door = DoorWithStandIns(stack, [server])
        await door.route_to_all()
        yield door
        await door.channel.close()
    await server.stop()


@pytest.mark.parametrize("method", ["/parley.chat.v1.AccountService/Login", REFLECTION])
@pytest.mark.parametrize("deadline_s", [None, 1e6])
async def test_half_sent_call_without_token_is_ended(
    impatient_door: DoorWithStandIns, method: str, deadline_s: float | None
) -> None:
    connect: Any = impatient_door.channel.stream_stream(method)
    silent_stream = impatient_door.connect()
    await silent_stream.write(b"before")
    # The headers alone, without a deadline of its own or with one that is far away.
    half_sent = connect(timeout=deadline_s)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await asyncio.wait_for(half_sent.read(), 20)
    assert of_error(error.value).code_and_reason == ("DEADLINE_EXCEEDED", "TIMED_OUT")
    await silent_stream.write(b"after")
    assert [await silent_stream.read(), await silent_stream.read()] == [b"before", b"after"]
