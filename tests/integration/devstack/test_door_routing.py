"""Envoy routes a call to the home that the device names while it is healthy, and to any healthy server otherwise."""

from __future__ import annotations

import grpc
import pytest

from tests.integration.devstack.conftest import DoorWithStandIns

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]


async def servers_of(door: DoorWithStandIns, calls: int = 10, **headers: str) -> set[str]:
    return {(await door.call(**headers))["served_by"] for _ in range(calls)}


async def test_call_is_routed_to_named_home(door: DoorWithStandIns) -> None:
    for address in door.addresses:
        assert await servers_of(door, x_chat_server=address) == {address}


async def test_internal_routing_header_is_not_exposed(door: DoorWithStandIns) -> None:
    told = await door.call(x_chat_server=door.addresses[0], x_parley_home="forged")
    assert "x-parley-home" not in told
    stream = door.connect()
    await stream.write(b"frame")
    assert "x-parley-home" not in dict(await stream.initial_metadata())
    stream.cancel()


async def test_calls_without_home_are_spread(door: DoorWithStandIns) -> None:
    assert await servers_of(door, calls=60) == set(door.addresses)


async def test_stale_home_is_routed_to_any_server(door: DoorWithStandIns) -> None:
    for stale in ("127.0.0.1:1", "chat-7", "", "10.0.0.1:5101"):
        assert await servers_of(door, calls=2, x_chat_server=stale) <= set(door.addresses)


async def test_unhealthy_server_gets_no_calls_even_if_named(door: DoorWithStandIns) -> None:
    away, *others = door.servers
    await away.set_serving(False)
    await door.wait_until_healthy([server.address for server in others])
    assert away.address not in await servers_of(door, x_chat_server=away.address)
    await away.set_serving(True)
    await door.wait_until_healthy(door.addresses)
    assert await servers_of(door, x_chat_server=away.address) == {away.address}


async def test_removed_server_gets_no_calls_until_added_again(door: DoorWithStandIns) -> None:
    first, *others = door.addresses
    door.stack.set_endpoints("chat", others)
    await door.wait_until_healthy(others)
    assert await servers_of(door, x_chat_server=first) <= set(others)
    door.stack.set_endpoints("chat", door.addresses)
    await door.wait_until_healthy(door.addresses)
    assert await servers_of(door, x_chat_server=first) == {first}


async def test_open_stream_survives_unhealthy_server(door: DoorWithStandIns) -> None:
    stream = door.connect(x_chat_server=door.addresses[0])
    await stream.write(b"before")
    assert await stream.read() == b"before"
    await door.servers[0].set_serving(False)
    await door.wait_until_healthy(door.addresses[1:])
    await stream.write(b"after")
    assert await stream.read() == b"after"
    await stream.done_writing()
    assert await stream.code() is grpc.StatusCode.OK


async def test_call_without_servers_is_unavailable(door: DoorWithStandIns) -> None:
    door.stack.set_endpoints("chat", [])
    await door.wait_until_healthy([])
    assert await door.refusal_code() is grpc.StatusCode.UNAVAILABLE
