"""The health service (grpc.health.v1): all services of one server share one status; parts may have their own.

The name `liveness` is SERVING as long as the server answers at all, also while it starts or drains.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

Context = grpc.aio.ServicerContext[HealthCheckRequest, HealthCheckResponse]

SERVICE_NAME = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
LIVENESS: Final = "liveness"
"""The name of a health check that a server answers with SERVING from its start to its exit."""


class HealthPart:
    """A part of a server with a status of its own, such as a store without which some calls fail.

    Health checks name it as they name a service. Its status does not change that of the server, which still answers.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.serving = True
        self._subscribers: list[Callable[[], None]] = []

    def subscribe(self, call: Callable[[], None]) -> None:
        """Call `call` after every change."""
        self._subscribers.append(call)

    def set_serving(self, serving: bool) -> None:
        """Set the status to SERVING or NOT_SERVING."""
        if serving != self.serving:
            self.serving = serving
            for call in self._subscribers:
                call()


class Health(health_pb2_grpc.HealthServicer):
    """The health servicer; the status is NOT_SERVING until `set_serving(True)`.

    gRPC's own servicer changes the status in a coroutine only, and a slow watcher delays that coroutine.
    """

    def __init__(self, service_names: Iterable[str], parts: Sequence[HealthPart] = ()) -> None:
        self._service_names = frozenset(service_names) | {""}
        self._parts = {part.name: part for part in parts}
        for part in parts:
            part.subscribe(self._notify_watchers)
        self._serving = False
        self._closed = False
        self._changed = asyncio.Event()

    def set_serving(self, serving: bool) -> None:
        """Set the status to SERVING or NOT_SERVING and notify the watchers."""
        self._serving = serving
        self._notify_watchers()

    def close(self) -> None:
        """Set NOT_SERVING, send it to the watchers and end their streams, so that none delays the shutdown."""
        self._closed = True
        self.set_serving(False)

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:  # noqa: N802
        """Return the status of one service or part, of the server (""), or of `liveness`."""
        response = self._response_for(request.service)
        if response.status == HealthCheckResponse.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service here")
        return response

    async def Watch(self, request: HealthCheckRequest, context: Context) -> None:  # noqa: N802
        """Send the status of a service now and after every change."""
        sent = None
        while True:
            changed, response = self._changed, self._response_for(request.service)
            if response != sent:
                # The status may change during the write, so compare again before waiting or returning.
                await context.write(response)
                sent = response
            elif self._closed:
                return
            else:
                await changed.wait()

    def _response_for(self, service: str) -> HealthCheckResponse:
        if service in self._service_names:
            serving = self._serving
        elif service in self._parts:
            serving = self._serving and self._parts[service].serving
        elif service == LIVENESS:
            serving = True
        else:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        return HealthCheckResponse(status=HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING)

    def _notify_watchers(self) -> None:
        # Each watcher waits for the event that it read together with the status it sent, so none misses a change.
        self._changed.set()
        self._changed = asyncio.Event()
