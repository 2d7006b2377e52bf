"""The stores with TLS and users, started once for a file of tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.secured.stores import SecuredStores, run_secured_stores


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredStores]:
    """Yield running stores. Valkey's wheel has no TLS, so Debian's Redis takes its place."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: `python3 -m devstack.machine --tests` installs it")
    with run_secured_stores(tmp_path_factory.mktemp("secured")) as stores:
        yield stores
