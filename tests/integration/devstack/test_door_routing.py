"""Envoy routes a call to the home that the device names while it is healthy, and to any healthy server otherwise."""

from __future__ import annotations

import grpc
import pytest

from chat_service.servicers.account import client_address
from devstack.ports import LOOPBACK
from servicekit.rpc import Call
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


async def test_client_cannot_have_its_call_retried(door: DoorWithStandIns) -> None:
    before = sum(server.refused for server in door.servers)
    code = await door.refusal_code(
        "/parley.chat.v1.ChatService/ListReaders",
        x_envoy_retry_on="5xx,gateway-error,reset,retriable-status-codes",
        x_envoy_retry_grpc_on="unavailable,internal,cancelled",
        x_envoy_max_retries="50",
    )
    assert code is grpc.StatusCode.UNAVAILABLE
    assert sum(server.refused for server in door.servers) == before + 1


@pytest.mark.parametrize(
    "header",
    ["x_envoy_upstream_rq_timeout_ms", "x_envoy_upstream_rq_per_try_timeout_ms", "x_envoy_expected_rq_timeout_ms"],
)
async def test_client_cannot_set_the_timeout_of_the_gateway(door: DoorWithStandIns, header: str) -> None:
    # One millisecond is less than some of these calls take.
    told = [await door.call(**{header: "1"}) for _ in range(50)]
    # Envoy itself adds the address of the client.
    assert {name for each in told for name in each if name.startswith("x-envoy")} <= {"x-envoy-external-address"}


@pytest.mark.parametrize(
    "header",
    [
        "x_envoy_attempt_count",
        "x_envoy_decorator_operation",
        "x_envoy_external_address",
        "x_envoy_force_trace",
        "x_envoy_hedge_on_per_try_timeout",
        "x_envoy_internal",
        "x_envoy_ip_tags",
        "x_envoy_is_timeout_retry",
        "x_envoy_original_path",
        "x_envoy_peer_metadata",
        "x_envoy_upstream_alt_stat_name",
        "x_envoy_upstream_rq_timeout_alt_response",
        "x_envoy_upstream_stream_duration_ms",
        "x_request_id",
    ],
)
async def test_server_does_not_see_what_a_client_says_in_a_header_of_the_gateway(
    door: DoorWithStandIns, header: str
) -> None:
    told = await door.call(**{header: "1"})
    assert told.get(header.replace("_", "-")) != "1"


@pytest.mark.parametrize("claimed", ["10.1.2.3", "203.0.113.7, 198.51.100.1", "::1", ","])
async def test_client_address_is_the_one_of_the_connection(door: DoorWithStandIns, claimed: str) -> None:
    told, forged = await door.call(), await door.call(x_forwarded_for=claimed)
    assert client_address(Call(None, forged, "")) == client_address(Call(None, told, ""))
    assert client_address(Call(None, told, "")) == LOOPBACK


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.0.1", "::1"])
async def test_claimed_internal_address_has_no_privileges(door: DoorWithStandIns, address: str) -> None:
    told = await door.call(x_forwarded_for=address, x_envoy_internal="true", x_envoy_decorator_operation="admin")
    assert "x-envoy-internal" not in told
    assert "x-envoy-decorator-operation" not in told
