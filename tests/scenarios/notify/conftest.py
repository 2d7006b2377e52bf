"""Fixtures of the scenarios of push notifications."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from devstack.services import SERVICES, Services
from tests.raw.pushes import Pushes
from tests.raw.world import World


@pytest.fixture(scope="module")
def fragile_services() -> Services:
    """All services."""
    return SERVICES


@pytest.fixture
async def pushes(world: World) -> AsyncIterator[Pushes]:
    """Yield the pushes of the shared system."""
    async with Pushes(world) as pushes:
        yield pushes
