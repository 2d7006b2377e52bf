"""What the figures were taken on: the machine, and the versions of what ran."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from devstack.binaries import binary

_VERSION_FLAGS = {"mongod": "--version", "valkey": "--version", "envoy": "--version"}
_GIB = 1 << 30
_STEPS = 200_000
_TRIES = 5


def machine() -> dict[str, str]:
    """Names and what they are, in words. Raises Trouble when a server is not installed."""
    return {
        "CPU": _cpu(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / _GIB:.0f} GiB",
        "Linux": platform.release(),
        "Python": platform.python_version(),
        **{name: version(name) for name in ("grpcio", "protobuf", "pymongo", "uvloop")},
        **{name: server_version(_said(name, flag)) for name, flag in _VERSION_FLAGS.items()},
    }


def pace() -> float:
    """Milliseconds of CPU that the same little work takes now: a machine that is shared is not always as fast."""
    return min(_work() for _ in range(_TRIES)) * 1000


def _work() -> float:
    begin, kept = time.process_time(), dict[int, str]()
    for step in range(_STEPS):
        kept[step & 0xFF] = str(step)
    return time.process_time() - begin


def server_version(said: str) -> str:
    """The first version in what a server says of itself."""
    found = re.search(r"\d+\.\d+\.\d+", said)
    return found[0] if found else "unknown"


def _said(name: str, flag: str) -> str:
    return subprocess.run([str(binary(name)), flag], capture_output=True, text=True, check=False).stdout


def _cpu() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else platform.machine()
