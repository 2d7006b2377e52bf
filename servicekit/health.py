"""Whether this server wants calls, told over grpc.health.v1: all services of one server say the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

Context = grpc.aio.ServicerContext[HealthCheckRequest, HealthCheckResponse]

SERVICE_NAME = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class Health(health_pb2_grpc.HealthServicer):
    """Answers health checks; NOT_SERVING until told otherwise.

    gRPC's own can only be told in a coroutine, and its slow watchers hold up whoever tells it.
    """

    def __init__(self, service_names: Iterable[str]) -> None:
        self._service_names = frozenset(service_names) | {""}
        self._serving = False
        self._closed = False
        self._changed = asyncio.Event()

    def set_serving(self, serving: bool) -> None:
        """Say from now on whether calls are wanted."""
        self._serving = serving
        self._notify_watchers()

    def close(self) -> None:
        """NOT_SERVING, and whoever watches is told and let go, so that nobody holds up the end."""
        self._closed = True
        self.set_serving(False)

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:  # noqa: N802
        """How one service, or all of them (""), is now."""
        if request.service not in self._service_names:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service here")
        return self._response_for(request.service)

    async def Watch(self, request: HealthCheckRequest, context: Context) -> None:  # noqa: N802
        """How a service is, and every change of it."""
        told = None
        while True:
            changed, answer = self._changed, self._response_for(request.service)
            if answer != told:
                # Much may happen while this is written, so look again before anything else.
                await context.write(answer)
                told = answer
            elif self._closed:
                return
            else:
                await changed.wait()

    def _response_for(self, service: str) -> HealthCheckResponse:
        if service not in self._service_names:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        serving = HealthCheckResponse.SERVING if self._serving else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse(status=serving)

    def _notify_watchers(self) -> None:
        # Each watcher waits for the event of the answer it gave, so that none misses a change.
        self._changed.set()
        self._changed = asyncio.Event()
