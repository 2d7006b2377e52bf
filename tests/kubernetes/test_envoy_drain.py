"""The hook that drains an Envoy before its pod is stopped, on a real Envoy, with the configuration of the cluster."""

from __future__ import annotations

import asyncio
import time
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

from devstack.binaries import server_binary
from devstack.envoy_template import render_configuration
from devstack.local_http import fetch
from devstack.managed_process import ManagedProcess, ProcessSpec
from devstack.ports import LOOPBACK, PortBlock
from devstack.secret_files import ensure_secret_files
from devstack.services import SERVICES
from tests.eventually import eventually
from tests.kubernetes.manifests import render
from tools import kubernetes

# The seconds of the test, instead of those of the manifest.
ACCEPTING_S = 2
DRAIN_S = 4
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

# The stubs of the types know no asynchronous client.
Connect: TypeAlias = Callable[[], Any]


class Pod:
    """An Envoy with the arguments of its pod, in front of one server that serves health alone."""

    def __init__(self, folder: Path, block: PortBlock) -> None:
        ports = block.ports
        self.door, self.metrics, self.lifecycle = (f"{LOOPBACK}:{ports.base + each}" for each in (0, 1, 2))
        self.server_port = ports.base + 3
        values = {
            **kubernetes.VALUES,
            "DOOR_PORT": ports.base,
            "METRICS_PORT": ports.base + 1,
            "LIFECYCLE_PORT": ports.base + 2,
            "MEDIA_PORT": ports.base + 4,
            "ADMIN_PORT": ports.base + 5,
            "DRAIN_SECONDS": DRAIN_S,
            "S3_HOST": LOOPBACK,
            "JWKS_FILE": ensure_secret_files(folder / "secrets").jwks,
        }
        names = {service.name: (LOOPBACK, self.server_port) for service in SERVICES}
        configuration = folder / "envoy.yaml"
        configuration.write_text(render_configuration(values, SERVICES, names=names))
        [container] = [each for each in render("base").containers() if each.spec["name"] == "envoy"]
        arguments = [str(configuration) if each.endswith(".yaml") else each for each in container.spec["args"]]
        arguments[arguments.index("--drain-time-s") + 1] = str(ACCEPTING_S)
        command = (str(server_binary("envoy")), *arguments)
        self.process = ManagedProcess(ProcessSpec("envoy", command, folder / "envoy.log", self._probe, self.door))

    def _probe(self) -> str | None:
        health = 'envoy_cluster_membership_healthy{envoy_cluster_name="chat"} 1'
        try:
            return None if health in self.read_metrics() else "the server is not healthy yet"
        except OSError as error:
            return str(error)

    def read_metrics(self) -> str:
        return fetch(f"http://{self.metrics}/metrics").decode()

    def run_hook(self) -> tuple[bytes, float]:
        """Return the answer of the hook, and the seconds that it took."""
        started = time.monotonic()
        return fetch(f"http://{self.lifecycle}/drain", timeout=DRAIN_S + 10), time.monotonic() - started

    async def refuses_connections(self) -> bool:
        host, _, port = self.door.rpartition(":")
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except ConnectionRefusedError:
            return True
        writer.close()
        return False


@pytest.fixture
async def health() -> aio.HealthServicer:
    """Return the health of the server, which a call `Watch` follows as a stream."""
    servicer = aio.HealthServicer()
    await servicer.set("", SERVING)
    await servicer.set("followed", SERVING)
    return servicer


@pytest.fixture
async def pod(tmp_path: Path, health: aio.HealthServicer) -> AsyncIterator[Pod]:
    async with AsyncExitStack() as stack:
        block = PortBlock()
        stack.callback(block.release)
        pod = Pod(tmp_path, block)
        server = grpc.aio.server()
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        server.add_insecure_port(f"{LOOPBACK}:{pod.server_port}")
        await server.start()
        stack.push_async_callback(server.stop, None)
        pod.process.start()
        stack.callback(pod.process.kill)
        await asyncio.to_thread(pod.process.wait_healthy)
        yield pod


@pytest.fixture
async def connect(pod: Pod) -> AsyncIterator[Connect]:
    """Return a function that returns a client with a connection of its own."""
    async with AsyncExitStack() as stack:

        def open_connection() -> Any:
            channel = grpc.aio.insecure_channel(pod.door, OPTIONS)
            stack.push_async_callback(channel.close)
            return health_pb2_grpc.HealthStub(channel)

        yield open_connection


async def test_open_stream_goes_on_while_new_connections_are_refused(
    pod: Pod, health: aio.HealthServicer, connect: Connect
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


async def test_nothing_else_of_the_administration_is_reachable(pod: Pod) -> None:
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
