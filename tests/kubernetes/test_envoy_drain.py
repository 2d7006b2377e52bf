"""The hook that drains an Envoy before its pod is stopped, on a real Envoy, with the configuration of the cluster."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio

from tests.eventually import eventually
from tests.kubernetes.envoy_pod import DRAIN_S, EnvoyPod, running_pod

OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

# The stubs of the types know no asynchronous client.
Connect: TypeAlias = Callable[[], Any]


@pytest.fixture
async def health() -> aio.HealthServicer:
    """Return the health of the server, which a call `Watch` follows as a stream."""
    servicer = aio.HealthServicer()
    await servicer.set("", SERVING)
    await servicer.set("followed", SERVING)
    return servicer


@pytest.fixture
async def pod(tmp_path: Path, health: aio.HealthServicer) -> AsyncIterator[EnvoyPod]:
    async with running_pod(tmp_path, health=health) as pod:
        yield pod


@pytest.fixture
async def connect(pod: EnvoyPod) -> AsyncIterator[Connect]:
    """Return a function that returns a client with a connection of its own."""
    async with AsyncExitStack() as stack:

        def open_connection() -> Any:
            channel = grpc.aio.insecure_channel(pod.door, OPTIONS)
            stack.push_async_callback(channel.close)
            return health_pb2_grpc.HealthStub(channel)

        yield open_connection


async def test_open_stream_goes_on_while_new_connections_are_refused(
    pod: EnvoyPod, health: aio.HealthServicer, connect: Connect
) -> None:
    stream = connect().Watch(health_pb2.HealthCheckRequest(service="followed"))
    assert (await stream.read()).status == SERVING
    client = connect()
    await client.Check(health_pb2.HealthCheckRequest())

    hook = asyncio.create_task(asyncio.to_thread(pod.run_hook))
    # Load balancers learn late that the pod leaves.
    assert (await connect().Check(health_pb2.HealthCheckRequest())).status == SERVING
    await eventually(pod.refuses_connections)
    assert not hook.done()
    # Envoy has asked the client to use another connection, which no call was lost with.
    refusal = await first_failure(client)
    assert refusal.code() == grpc.StatusCode.UNAVAILABLE
    assert "Connection refused" in str(refusal.details())
    await health.set("followed", NOT_SERVING)
    assert (await stream.read()).status == NOT_SERVING

    answer, seconds = await hook
    assert answer == b"drained\n"
    # The timers of two processes are compared.
    assert seconds > DRAIN_S * 0.9
    assert await asyncio.to_thread(pod.process.terminate) == 0


async def first_failure(client: Any) -> grpc.aio.AioRpcError:
    """Return the first failure of repeated calls."""
    while True:
        try:
            await client.Check(health_pb2.HealthCheckRequest())
        except grpc.aio.AioRpcError as error:
            return error


def status_of(method: str, url: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, method=method), timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


async def test_nothing_else_of_the_administration_is_reachable(pod: EnvoyPod) -> None:
    for address, own in ((pod.metrics, "/metrics"), (pod.lifecycle, "/drain")):
        for path in (
            "/",
            "/quitquitquit",
            "/drain_listeners",
            "/config_dump",
            "/stats/prometheus",
            "/metrics",
            "/drain",
        ):
            if path != own:
                for method in ("GET", "POST"):
                    assert await asyncio.to_thread(status_of, method, f"http://{address}{path}") == 404, path
        assert await asyncio.to_thread(status_of, "POST", f"http://{address}{own}") == 404
    assert "listener_manager_total_listeners_draining{} 0" in pod.read_metrics()
