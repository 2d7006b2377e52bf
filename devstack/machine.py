"""Whether this machine can run the stack, asked before anything is installed: standard library only.

`python3 -m devstack.machine` installs missing system packages with apt when it runs as root; else it says which one
line does it. It must parse on older Pythons too, to be able to say that they are too old.
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

# What mongod is linked with, and the Debian package that has it.
REQUIRED_LIBRARIES = {"libcurl.so.4": "libcurl4", "libssl.so.3": "libssl3"}


def unsupported_reason() -> str | None:
    """What cannot be mended by installing a package, in a sentence; None when nothing stands in the way."""
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


def missing_packages() -> list[str]:
    """Debian packages this machine lacks."""
    missing = [package for library, package in REQUIRED_LIBRARIES.items() if not _can_load(library)]
    if importlib.util.find_spec("ensurepip") is None:
        missing.append("python{}.{}-venv".format(*sys.version_info[:2]))
    return missing


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def apt_command(packages: list[str]) -> str:
    """What the person may run."""
    return "sudo apt-get update && sudo apt-get install -y {}".format(" ".join(packages))


def install_missing_packages() -> None:
    """Installs what is missing, or exits 1 with a sentence."""
    reason = unsupported_reason()
    if reason is not None:
        sys.exit(reason)
    packages = missing_packages()
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
            sys.exit("`{}` failed; its reason stands above.".format(" ".join(command)))


if __name__ == "__main__":
    install_missing_packages()
