"""The Envoy of a pod, as a process on this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio

from devstack.binaries import server_binary
from devstack.envoy_template import render_configuration
from devstack.local_http import fetch
from devstack.managed_process import ManagedProcess, ProcessSpec
from devstack.ports import LOOPBACK, PortBlock
from devstack.secret_files import ensure_secret_files
from devstack.services import SERVICES
from tests.kubernetes.manifests import render
from tools import kubernetes

# The seconds of the tests, instead of those of the manifest.
ACCEPTING_S: Final = 2
DRAIN_S: Final = 4


@asynccontextmanager
async def running_pod(
    folder: Path,
    *interceptors: grpc.aio.ServerInterceptor,
    health: aio.HealthServicer | None = None,
    **others: object,
) -> AsyncIterator[EnvoyPod]:
    """Run an `EnvoyPod` with `others` in front of a server behind the interceptors, which by default is serving."""
    if health is None:
        health = aio.HealthServicer()
        await health.set("", health_pb2.HealthCheckResponse.SERVING)
    async with AsyncExitStack() as stack:
        block = PortBlock()
        stack.callback(block.release)
        pod = EnvoyPod(folder, block, **others)
        server = grpc.aio.server(interceptors=interceptors)
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        server.add_insecure_port(f"{LOOPBACK}:{pod.server_port}")
        await server.start()
        stack.push_async_callback(server.stop, None)
        pod.process.start()
        stack.callback(pod.process.kill)
        await asyncio.to_thread(pod.process.wait_healthy)
        yield pod


class EnvoyPod:
    """An Envoy with the arguments of its pod, in front of one server that serves health alone.

    `others` are values of the template in place of those of the cluster.
    """

    def __init__(self, folder: Path, block: PortBlock, **others: object) -> None:
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
            **others,
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
