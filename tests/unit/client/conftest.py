"""A stage for each test, and accounts that play on it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TypeVar

import pytest

from parley_client import Client, Device, SessionStore
from tests.unit.client.stage import Stage
from tests.unit.client.stage_servicers import serve


class Cast:
    """Clients on one stage, closed together."""

    def __init__(self, stage: Stage, door: str, stack: AsyncExitStack) -> None:
        self.stage = stage
        self.door = door
        self._stack = stack

    async def client(self, name: str = "", store: SessionStore | None = None) -> Client:
        client = await self._stack.enter_async_context(Client(self.door, store=store))
        if name and name in self.stage.passwords:
            await client.accounts.login(name, "password")
        elif name:
            await client.accounts.register(name, "password")
        return client

    async def device(self, client: Client, **options: object) -> Device:
        device = await self._stack.enter_async_context(client.connect(**options))  # type: ignore[arg-type]
        await device.wait_connected()
        return device


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
async def cast(stage: Stage) -> AsyncIterator[Cast]:
    server, door = await serve(stage)
    async with AsyncExitStack() as stack:
        yield Cast(stage, door, stack)
    await server.stop(0)


E = TypeVar("E")


async def until(device: Device, kind: type[E]) -> E:
    """The next event of this kind; others are passed over."""
    async for event in device:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"the device ended before {kind.__name__}")
