"""The real S3 store of the contract tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devstack.managed_process import ManagedProcess
from tests.seaweedfs import seaweedfs_server


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedProcess]:
    with seaweedfs_server(tmp_path_factory.mktemp("seaweedfs")) as process:
        yield process
