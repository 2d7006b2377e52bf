"""Fixtures of the SDK scenarios: a proxy before the door, and clients of the SDK behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from devstack.stack import Stack
from tests.proxy.rpc import Proxy
from tests.raw.world import PASSWORD, World
from tests.scenarios.sdk.people import Pair, People
from tests.terminal import Terminal


@pytest.fixture
async def proxy(stack: Stack) -> AsyncIterator[Proxy]:
    """A proxy before the door of the shared system; it passes every frame until a rule is set."""
    async with Proxy(stack.door) as proxy:
        yield proxy


@pytest.fixture
async def people(world: World, proxy: Proxy) -> AsyncIterator[People]:
    """Clients of the SDK behind the proxy."""
    async with AsyncExitStack() as opened:
        yield People(world, proxy, opened)


@pytest.fixture
async def pair(people: People) -> Pair:
    return await people.pair()


@pytest.fixture
def terminal(proxy: Proxy, tmp_path: Path) -> Terminal:
    """The command behind the proxy, without a session."""
    return Terminal(proxy.address, tmp_path, PASSWORD)
