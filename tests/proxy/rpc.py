"""A gRPC proxy between a client and the door: every call passes as raw bytes, and a rule sees the frames going down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import jwt

from tests.proxy.mischief import Caller, Rule
from tests.raw.stream import CONNECT

# What gRPC itself says about a connection; each of the two says its own.
_OWN = ("user-agent", "content-type", "te", "grpc-accept-encoding", "grpc-encoding", "accept-encoding")
_SERVER = [("grpc.so_reuseport", 0), ("grpc.max_concurrent_streams", 10_000)]
_CLIENT = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
_LOOPBACK = "127.0.0.1"

Behaviour = Callable[[Any, Any], Awaitable[None]]


class Proxy(grpc.GenericRpcHandler):
    """An async context manager; clients take `address` for the door. `rule` may be changed at any time.

    To it all calls are streams in both directions, which is what they are on the wire.
    """

    def __init__(self, door: str, rule: Rule | None = None) -> None:
        self.rule = rule
        self.address = ""
        self._door = door
        self._server = grpc.aio.server(handlers=[self], options=_SERVER)

    async def __aenter__(self) -> Proxy:
        self._channel = grpc.aio.insecure_channel(self._door, options=_CLIENT)
        self.address = f"{_LOOPBACK}:{self._server.add_insecure_port(f'{_LOOPBACK}:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(grace=None)
        await self._channel.close()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """Called by gRPC for each call."""
        return grpc.stream_stream_rpc_method_handler(self._passing(handler_call_details.method))

    def _passing(self, method: str) -> Any:
        async def passing(requests: Any, context: Any) -> None:
            metadata = _passed_on(context.invocation_metadata())
            call: Any = self._channel.stream_stream(method)(
                requests, metadata=metadata, timeout=context.time_remaining()
            )
            try:
                await self._down(call, context, _caller(metadata) if method == CONNECT else None)
            finally:
                call.cancel()

        return passing

    async def _down(self, call: Any, context: Any, caller: Caller | None) -> None:
        try:
            await context.send_initial_metadata(_passed_on(await call.initial_metadata()))
            while (frame := await call.read()) is not grpc.aio.EOF:
                for each in self._ruled(caller, frame):
                    await context.write(each)
        except grpc.aio.AioRpcError:
            pass  # the status says it
        trailing, code, details = await call.trailing_metadata(), await call.code(), await call.details()
        context.set_trailing_metadata(_passed_on(trailing))
        if code is not grpc.StatusCode.OK:
            await context.abort(code, details or "", _passed_on(trailing))

    def _ruled(self, caller: Caller | None, frame: bytes) -> list[bytes]:
        return [frame] if caller is None or self.rule is None else self.rule.down(caller, frame)


def _passed_on(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((key, value) for key, value in metadata or () if key not in _OWN and not key.startswith(":"))


def _caller(metadata: tuple[tuple[str, str | bytes], ...]) -> Caller | None:
    """Whom the token names; it is the server that checks it."""
    bearer = next((str(value) for key, value in metadata if key == "authorization"), "")
    try:
        claims = jwt.decode(bearer.removeprefix("Bearer "), options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return None
    return Caller(claims["sub"], claims["did"])
