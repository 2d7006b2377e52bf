"""Fixtures of the scenarios with files."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.raw.device import RawDevice
from tests.raw.media import RawMedia
from tests.raw.world import World


class Files:
    """The callers of the media service of one test, one for each device."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._callers: dict[str, RawMedia] = {}

    def of(self, device: RawDevice) -> RawMedia:
        """Return the caller of a device."""
        if device.device_id not in self._callers:
            self._callers[device.device_id] = RawMedia(device, self._world.channel(self._world.stack.door))
        return self._callers[device.device_id]

    async def close(self) -> None:
        """Close the connections."""
        for caller in self._callers.values():
            await caller.close()


@pytest.fixture
async def files(world: World) -> AsyncIterator[Files]:
    """The callers of the media service on the shared system."""
    files = Files(world)
    yield files
    await files.close()
