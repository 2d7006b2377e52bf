"""The address that Envoy tells the services for a client, and what an overloaded Envoy still serves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from devstack.ports import LOOPBACK
from servicekit.audit import client_address
from tests.eventually import eventually
from tests.kubernetes.envoy_pod import EnvoyPod, running_pod
from tests.kubernetes.test_autoscaling import metrics_of_pods

OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
# The calls of the tests have it, and the health checks of Envoy do not.
MARK = "x-marked"
PROXY = "198.51.100.9"
CLIENT = "203.0.113.7"
FORGED = "192.0.2.66"


class MetadataRecorder(grpc.aio.ServerInterceptor):
    """Keeps the metadata of the marked calls that reach the server."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, Any]] = []

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        metadata = dict(handler_call_details.invocation_metadata or ())
        if MARK in metadata:
            self.metadata.append(metadata)
        return await continuation(handler_call_details)


async def address_at_the_server(pod: EnvoyPod, recorder: MetadataRecorder, **headers: str) -> str:
    """Return the address that a service reads in a call with these headers."""
    metadata = [(MARK, "yes"), *((name.replace("_", "-"), value) for name, value in headers.items())]
    async with grpc.aio.insecure_channel(pod.door, OPTIONS) as channel:
        # The stubs of the types know no asynchronous client.
        client: Any = health_pb2_grpc.HealthStub(channel)
        await client.Check(health_pb2.HealthCheckRequest(), metadata=metadata)
    return client_address(recorder.metadata[-1], "ipv4:10.0.0.1:1")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_forwarded_for": FORGED},
        {"x_forwarded_for": f"{FORGED}, {FORGED}"},
        {"x_envoy_external_address": FORGED},
        {"x_forwarded_for": "255.255.255.255", "x_envoy_external_address": FORGED},
    ],
)
async def test_without_a_proxy_the_address_is_that_of_the_connection(tmp_path: Path, headers: dict[str, str]) -> None:
    recorder = MetadataRecorder()
    async with running_pod(tmp_path, recorder) as pod:
        assert await address_at_the_server(pod, recorder, **headers) == LOOPBACK


async def test_behind_trusted_proxies_the_address_is_the_one_that_the_outermost_appended(tmp_path: Path) -> None:
    for hops, appended in ((1, CLIENT), (2, f"{CLIENT}, {PROXY}")):
        recorder = MetadataRecorder()
        (folder := tmp_path / str(hops)).mkdir()
        async with running_pod(folder, recorder, TRUSTED_HOPS=hops) as pod:
            for headers in (
                {"x_forwarded_for": appended},
                {"x_forwarded_for": f"{FORGED}, {appended}"},
                {"x_forwarded_for": f"{FORGED}, {appended}", "x_envoy_external_address": FORGED},
            ):
                assert await address_at_the_server(pod, recorder, **headers) == CLIENT


async def test_connections_that_envoy_is_scaled_by_are_counted_by_listener(tmp_path: Path) -> None:
    async with (
        running_pod(tmp_path, MetadataRecorder()) as pod,
        grpc.aio.insecure_channel(pod.door, OPTIONS) as channel,
    ):
        client: Any = health_pb2_grpc.HealthStub(channel)
        await client.Check(health_pb2.HealthCheckRequest())
        [metric] = metrics_of_pods()["envoy"]
        series = f'{metric}{{envoy_http_conn_manager_prefix="door"}} 1\n'
        # Envoy counts on its workers, and adds up now and then.
        await eventually(lambda: series in pod.read_metrics())


async def is_closed_by_envoy(pod: EnvoyPod, stack: AsyncExitStack) -> bool:
    """Open a connection to the door, and return whether Envoy closes it before it has sent anything."""
    host, _, port = pod.door.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    stack.callback(writer.close)
    with suppress(TimeoutError, ConnectionError):
        return await asyncio.wait_for(reader.read(1), 1) == b""
    return False


@pytest.mark.parametrize("limit", [{"MAX_HEAP_BYTES": 1 << 20}, {"MAX_CONNECTIONS": 1}])
async def test_overloaded_envoy_refuses_clients_and_is_still_watched_and_drained(
    tmp_path: Path, limit: dict[str, Any]
) -> None:
    async with running_pod(tmp_path, MetadataRecorder(), **limit) as pod, AsyncExitStack() as stack:
        await eventually(lambda: is_closed_by_envoy(pod, stack))
        assert "envoy_cluster_membership_healthy" in await asyncio.to_thread(pod.read_metrics)
        answer, _ = await asyncio.to_thread(pod.run_hook)
        assert answer == b"drained\n"
