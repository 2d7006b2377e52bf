"""A real S3 store of its own for the outages, and both event loops: that of Python, and the one of the services."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop

from devstack.managed_process import ManagedProcess
from tests.seaweedfs import seaweedfs_server


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedProcess]:
    with seaweedfs_server(tmp_path_factory.mktemp("seaweedfs")) as process:
        yield process
