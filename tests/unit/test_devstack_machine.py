"""The check of the machine: a message for an unsupported one, and the installation of missing packages."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys

import pytest

from devstack import machine


def test_this_machine_is_supported() -> None:
    assert machine.unsupported_reason() is None
    assert machine.missing_packages() == []


def test_old_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(platform, "python_version", lambda: "3.9.2")
    assert machine.unsupported_reason() == (
        "Parley needs Python 3.11 or newer, and this is 3.9.2. Name another: make PYTHON=python3.12 run"
    )


def test_unsupported_platform_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert "and this is Darwin on arm64. Use a Linux machine" in (machine.unsupported_reason() or "")


@pytest.mark.parametrize("found", [("glibc", "2.31"), ("", "")])
def test_unsupported_c_library_is_named(found: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: found)
    assert "need glibc 2.34 or newer" in (machine.unsupported_reason() or "")


def test_without_root_the_install_command_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "REQUIRED_LIBRARIES", {"libnothing.so.9": "libnothing9"})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(SystemExit) as end:
        machine.install_missing_packages()
    assert end.value.code == (
        "Some system packages are missing. This line installs them:\n\n"
        "    sudo apt-get update && sudo apt-get install -y --no-install-recommends libnothing9\n"
    )


def test_programs_of_tests_are_missing_only_for_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert machine.missing_packages() == []
    assert machine.missing_packages(for_tests=True) == ["curl", "prometheus", "redis-server"]


def test_as_root_missing_packages_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        ran.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(machine, "REQUIRED_LIBRARIES", {"libnothing.so.9": "libnothing9"})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", run)
    machine.install_missing_packages()
    assert [command[:2] for command in ran] == [["apt-get", "update"], ["apt-get", "install"]]
    assert ran[1][-1] == "libnothing9"


def test_without_apt_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "REQUIRED_LIBRARIES", {"libnothing.so.9": "libnothing9"})
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match=r"by their Debian names: libnothing9\. Install them first"):
        machine.install_missing_packages()
