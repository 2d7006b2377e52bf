"""What stands between the SDK and the door in these plays."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from devstack.stack import Stack
from tests.proxy.rpc import Proxy


@pytest.fixture
async def proxy(stack: Stack) -> AsyncIterator[Proxy]:
    """A proxy before the door of the system all plays share; it passes everything until it is given a rule."""
    async with Proxy(stack.door) as proxy:
        yield proxy
