"""The check that this machine can run the stack, before anything is installed: standard library only.

`python3 -m devstack.machine` installs missing system packages with apt if it runs as root; otherwise it prints the
command that does. With `--tests` it also installs the programs that only tests run. It must parse on older Pythons, so
that it can report them as too old.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import subprocess
import sys

MIN_PYTHON = (3, 11)
MIN_GLIBC = (2, 34)

# The libraries that mongod is linked with, and their Debian packages.
REQUIRED_LIBRARIES = {"libcurl.so.4": "libcurl4", "libssl.so.3": "libssl3"}
# Programs that only tests run, and their Debian packages. A test is skipped without its program, and fails under CI.
TEST_PROGRAMS = {"curl": "curl", "promtool": "prometheus", "redis-server": "redis-server"}


def unsupported_reason() -> str | None:
    """Return why this machine cannot run the stack whatever is installed, in a sentence; None if it can."""
    if sys.version_info < MIN_PYTHON:
        return (
            f"Parley needs Python 3.11 or newer, and this is {platform.python_version()}. "
            "Name another: make PYTHON=python3.12 run"
        )
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return (
            "The servers of `make run` are built for Linux on x86-64, and this is "
            f"{platform.system()} on {platform.machine()}. Use a Linux machine, virtual machine or container."
        )
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < MIN_GLIBC:
        return "The servers of `make run` need glibc 2.34 or newer (Debian 12, Ubuntu 22.04); this is {} {}.".format(
            name or "another C library", version
        )
    return None


def missing_packages(*, for_tests: bool = False) -> list[str]:
    """Return the Debian packages that are missing to run the stack, and `for_tests` also those of its tests."""
    missing = [package for library, package in REQUIRED_LIBRARIES.items() if not _can_load(library)]
    if importlib.util.find_spec("ensurepip") is None:
        missing.append("python{}.{}-venv".format(*sys.version_info[:2]))
    if for_tests:
        missing += [package for program, package in TEST_PROGRAMS.items() if shutil.which(program) is None]
    return missing


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def apt_command(packages: list[str]) -> str:
    """Return the command that installs `packages`."""
    return "sudo apt-get update && sudo apt-get install -y --no-install-recommends {}".format(" ".join(packages))


def install_missing_packages(*, for_tests: bool = False) -> None:
    """Install the missing packages as root; otherwise exit with 1 and a message that tells the user what to do."""
    reason = unsupported_reason()
    if reason is not None:
        sys.exit(reason)
    packages = missing_packages(for_tests=for_tests)
    if not packages:
        return
    if shutil.which("apt-get") is None:
        sys.exit("Missing on this machine, by their Debian names: {}. Install them first.".format(", ".join(packages)))
    if os.geteuid() != 0:
        sys.exit(f"Some system packages are missing. This line installs them:\n\n    {apt_command(packages)}\n")
    _install(packages)


def _install(packages: list[str]) -> None:
    print("Installing system packages: {}".format(" ".join(packages)), flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-qy", "--no-install-recommends", *packages],
    ):
        if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode != 0:
            sys.exit("`{}` failed; see its output above.".format(" ".join(command)))


if __name__ == "__main__":
    install_missing_packages(for_tests="--tests" in sys.argv[1:])
