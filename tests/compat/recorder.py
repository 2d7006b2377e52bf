"""Proxies in front of the internal ports of all servers, which record every call between servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from devstack.servers.service import ServiceReplica
from devstack.stack import Stack
from tests.compat.recording import Exchange, Frame
from tests.proxy.rpc import Proxy


class RecordingProxy(Proxy):
    """A proxy that adds every call to `exchanges`."""

    def __init__(self, service: str, server: str, exchanges: list[Exchange]) -> None:
        super().__init__(server)
        self._service = service
        self._exchanges = exchanges

    def _passing(self, method: str) -> Any:
        return partial(self._pass_recorded, method)

    async def _pass_recorded(self, method: str, requests: AsyncIterator[bytes], context: Any) -> None:
        exchange = Exchange(self._service, method)
        self._exchanges.append(exchange)

        async def passed_up() -> AsyncIterator[bytes]:
            async for frame in requests:
                exchange.frames.append(Frame(True, frame))
                yield frame

        call = self._begin(method, passed_up(), context)
        try:
            await self._down(call, context, _recording_writer(exchange, context.write))
        finally:
            call.cancel()


def _recording_writer(
    exchange: Exchange, write: Callable[[bytes], Awaitable[None]]
) -> Callable[[bytes], Awaitable[None]]:
    async def record_and_write(frame: bytes) -> None:
        exchange.frames.append(Frame(False, frame))
        await write(frame)

    return record_and_write


@asynccontextmanager
async def recorded(stack: Stack) -> AsyncIterator[list[Exchange]]:
    """Let the servers of a stack that has not started reach each other through proxies, and yield their calls."""
    exchanges: list[Exchange] = []
    async with AsyncExitStack() as open_:
        for server in stack.processes.values():
            if isinstance(server, ServiceReplica):
                service = server.name.partition("-")[0]
                proxy = RecordingProxy(service, server.internal_address, exchanges)
                await open_.enter_async_context(proxy)
                environment = {**server.spec.environment, "PARLEY_INTERNAL_ADVERTISE": proxy.address}
                server.spec = replace(server.spec, environment=environment)
        yield exchanges
