"""Fixtures of the scenarios with files."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from devstack.services import CHAT, MEDIA, SERVICES, Services
from devstack.stack import Stack
from tests.footprint import MIB, files_open_for_writing, memory_growth_below, written_bytes
from tests.raw.device import RawDevice
from tests.raw.media import RawMedia
from tests.raw.world import World

# The log of a server is on the disk.
LOGGED: Final = MIB


@pytest.fixture(scope="module")
def fragile_services() -> Services:
    """All services."""
    return SERVICES


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


class FreshMedia:
    """A media server that has served nothing yet, for memory that is already allocated would be reused.

    It may create temporary files in the folder `temporary`, which is empty.
    """

    def __init__(self, world: World, temporary: Path) -> None:
        self._world = world
        self._temporary = temporary
        self._callers: list[RawMedia] = []
        [self._server] = world.stack.replicas("media")

    async def caller(self, device: RawDevice | None = None) -> RawMedia:
        """Return a new caller, of a new user without a device; it knows nothing of what another one did."""
        caller = RawMedia(device or await self._world.user(), self._world.channel(self._world.stack.door))
        self._callers.append(caller)
        return caller

    @asynccontextmanager
    async def bounded(self, most: int) -> AsyncIterator[None]:
        """Check that the server, without its workers, grows by less than `most` bytes, and writes its log alone."""
        written = written_bytes(self._server.pid)
        async with memory_growth_below(self._server.pid, most):
            yield
        assert written_bytes(self._server.pid) - written < LOGGED
        self.check_open_files()

    def check_open_files(self) -> None:
        """Check that no file is open for writing but the log, and that there is no temporary one."""
        assert files_open_for_writing(self._server.pid) <= {self._server.spec.log}
        assert not list(self._temporary.iterdir())

    async def close(self) -> None:
        """Close the connections."""
        for caller in self._callers:
            await caller.close()


@pytest.fixture
def fresh_stack(tmp_path: Path) -> Iterator[Stack]:
    """A new system, whose media server has an empty folder for temporary files."""
    (tmp_path / "temporary").mkdir()
    environment_of = {"media-1": {"TMPDIR": str(tmp_path / "temporary")}}
    with Stack(tmp_path / "stack", 1, services=(CHAT, MEDIA), environment_of=environment_of) as stack:
        yield stack
    # The last folders of tests are kept, but not gigabytes of files.
    shutil.rmtree(tmp_path / "stack/data/seaweedfs")


@pytest.fixture
async def fresh_media(fresh_stack: Stack, tmp_path: Path) -> AsyncIterator[FreshMedia]:
    """A media server whose use of memory and disk is checked."""
    async with World(fresh_stack) as world:
        media = FreshMedia(world, tmp_path / "temporary")
        yield media
        await media.close()
