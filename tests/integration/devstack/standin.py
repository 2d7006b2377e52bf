"""A stand-in for a chat server: a small gRPC server that answers with its address and the request's metadata."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from servicekit.server import OPTIONS

FLOOD = 64 << 20


class StandIn(grpc.GenericRpcHandler):
    """A handler of every method: `Connect` echoes frames, `Subscribe` floods, all others return their metadata.

    `ListReaders` is unavailable, and `refused` counts its calls.
    """

    def __init__(self) -> None:
        self.address = ""
        self.refused = 0
        self._server = grpc.aio.server(options=OPTIONS)
        self._health = HealthServicer()

    async def start(self) -> None:
        self._server.add_generic_rpc_handlers((self,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """Set the response to health checks."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set("", status)

    async def stop(self) -> None:
        await self._server.stop(None)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = str(handler_call_details.method)
        if method.startswith("/grpc.health."):
            return None
        if method.endswith("/Connect"):
            return grpc.stream_stream_rpc_method_handler(self._echo)
        if method.endswith("/Subscribe"):
            return grpc.unary_stream_rpc_method_handler(self._flood)
        if method.endswith("/ListReaders"):
            return grpc.unary_unary_rpc_method_handler(self._refuse)
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _refuse(self, request: bytes, context: Any) -> bytes:
        self.refused += 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        return b""

    async def _answer(self, request: bytes, context: Any) -> bytes:
        return json.dumps({"served_by": self.address, **dict(context.invocation_metadata())}, default=str).encode()

    async def _echo(self, frames: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for frame in frames:
            yield frame

    async def _flood(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(FLOOD >> 16):
            yield bytes(1 << 16)
