"""The machine of a result: its hardware, the versions of the servers and libraries, and its speed."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from devstack.binaries import server_binary

_VERSION_FLAGS = {"mongod": "--version", "valkey": "--version", "envoy": "--version"}
_GIB = 1 << 30
_STEPS = 200_000
_TRIES = 5


def describe_machine() -> dict[str, str]:
    """Return the hardware and versions by name. Raise SetupError if a server is not installed."""
    return {
        "CPU": _cpu(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / _GIB:.0f} GiB",
        "Linux": platform.release(),
        "Python": platform.python_version(),
        **{name: version(name) for name in ("grpcio", "protobuf", "pymongo", "uvloop")},
        **{name: parse_version(_version_output(name, flag)) for name, flag in _VERSION_FLAGS.items()},
    }


def measure_pace_ms() -> float:
    """Return the milliseconds of CPU that a fixed loop takes now; the speed of a shared machine varies."""
    return min(_run_reference_loop() for _ in range(_TRIES)) * 1000


def _run_reference_loop() -> float:
    started_at, texts = time.process_time(), dict[int, str]()
    for step in range(_STEPS):
        texts[step & 0xFF] = str(step)
    return time.process_time() - started_at


def parse_version(output: str) -> str:
    """Return the first version number in `output`; `unknown` if there is none."""
    found = re.search(r"\d+\.\d+\.\d+", output)
    return found[0] if found else "unknown"


def _version_output(name: str, flag: str) -> str:
    return subprocess.run([str(server_binary(name)), flag], capture_output=True, text=True, check=False).stdout


def _cpu() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else platform.machine()
