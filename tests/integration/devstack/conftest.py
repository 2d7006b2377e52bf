"""An Envoy that routes to three stand-ins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from devstack.services import SERVICES
from devstack.stack import Stack
from servicekit.auth import TokenSigner
from tests.integration.devstack.standin import StandIn

# A deployment without push notifications.
SERVED = tuple(each for each in SERVICES if each.name != "notify")


class DoorWithStandIns:
    """An Envoy in front of stand-ins, with calls that carry a valid token by default."""

    def __init__(self, stack: Stack, servers: list[StandIn]) -> None:
        self.stack = stack
        self.servers = servers
        self.channel = grpc.aio.insecure_channel(stack.door)

    @property
    def addresses(self) -> list[str]:
        return [server.address for server in self.servers]

    def token(self, *, issuer: str = "parley", audience: str = "parley", lifetime: float = 600.0) -> str:
        key = self.stack.signing_key_file.read_bytes()
        signer = TokenSigner(key, issuer=issuer, audience=audience, lifetime=lifetime)
        return signer.sign("a" * 32, "b" * 32)[0]

    async def call(
        self, method: str = "/parley.chat.v1.ChatService/Locate", *, token: str | None = "", **headers: str
    ) -> dict[str, Any]:
        """Return the metadata that the server received. `token` "" sends a valid token, None sends no token."""
        metadata = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if token is not None:
            metadata.append(("authorization", f"Bearer {token or self.token()}"))
        unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(method)
        answer = await unary(b"", metadata=metadata, timeout=10)
        told: dict[str, Any] = json.loads(answer)
        return told

    def connect(self, **headers: str) -> grpc.aio.StreamStreamCall[bytes, bytes]:
        """Open a stream that echoes its frames. `authorization` defaults to a valid token."""
        headers = {"authorization": f"Bearer {self.token()}", **headers}
        metadata = [(name.replace("_", "-"), value) for name, value in headers.items()]
        method = "/parley.chat.v1.ChatService/Connect"
        stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self.channel.stream_stream(method)
        return stream(metadata=metadata, timeout=20)

    def flood(self) -> grpc.aio.UnaryStreamCall[bytes, bytes]:
        """Open a stream that sends more than any buffer holds."""
        method = "/parley.chat.v1.ChatService/Subscribe"
        stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self.channel.unary_stream(method)
        return stream(b"", metadata=[("authorization", f"Bearer {self.token()}")])

    async def refusal_code(self, method: str = "/parley.chat.v1.ChatService/Locate", **call: Any) -> grpc.StatusCode:
        """Return the status code of a call that fails."""
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await self.call(method, **call)
        return error.value.code()

    async def route_to_all(self) -> None:
        """Make all stand-ins healthy and route to them."""
        for server in self.servers:
            await server.set_serving(True)
        self.stack.set_endpoints("chat", self.addresses)
        await self.wait_until_healthy(self.addresses)

    async def wait_until_healthy(self, addresses: list[str]) -> None:
        """Wait until exactly these addresses are healthy in Envoy."""
        await asyncio.to_thread(self.stack.wait_healthy_endpoints, "chat", addresses)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing_door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DoorWithStandIns]:
    servers = [StandIn() for _ in range(3)]
    for server in servers:
        await server.start()
    with Stack(tmp_path_factory.mktemp("door"), services=SERVED, only=["envoy"]) as stack:
        door = DoorWithStandIns(stack, servers)
        yield door
        await door.channel.close()
    for server in servers:
        await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def door(standing_door: DoorWithStandIns) -> DoorWithStandIns:
    """Return the module's Envoy, routing to all stand-ins."""
    await standing_door.route_to_all()
    return standing_door
