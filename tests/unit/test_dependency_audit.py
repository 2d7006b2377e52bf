"""The audit of the dependencies finds what is unbounded, what does not fit together, and licences that bind."""

from __future__ import annotations

from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tools import dependency_audit


class Installed(Distribution):
    """A distribution with these metadata."""

    def __init__(self, version: str, **fields: str) -> None:
        self._fields = {"Name": "dependency", "Version": version, **fields}

    @property
    def metadata(self) -> Any:
        data = Message()
        for name, value in self._fields.items():
            data[name.replace("_", "-")] = value
        return data

    def read_text(self, filename: str) -> str | None:
        return None

    def locate_file(self, path: Any) -> Path:
        return Path(path)


def test_dependencies_of_the_tree_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert dependency_audit.main() == 0
    assert capsys.readouterr().out.endswith(" dependencies of the product, 0 findings\n")


@pytest.mark.parametrize(
    "bounded", ["redis>=8,<9", "grpcio==1.85.1", "h2~=4.1", "redis[hiredis]>=8,<9", "tzdata>=2026.1"]
)
def test_bounded_requirement_passes(bounded: str) -> None:
    assert list(dependency_audit.unbounded(_project(bounded))) == []


@pytest.mark.parametrize("unbounded", ["redis", "redis>=8", "redis<9", "redis!=8.1"])
def test_requirement_without_bounds_is_named(unbounded: str) -> None:
    [finding] = dependency_audit.unbounded(_project(unbounded))
    assert unbounded in finding


def _project(requirement: str) -> dict[str, Any]:
    return {"build-system": {"requires": []}, "project": {"dependencies": [requirement]}}


def test_unmet_requirement_is_named() -> None:
    required = [
        (Requirement("one>=2"), Installed("1.0")),
        (Requirement("two"), None),
        (Requirement("three>=1"), Installed("1.5")),
    ]
    assert list(dependency_audit.unmet(required)) == [
        "one>=2 is not met by the installed 1.0",
        "two is not installed",
    ]


def test_requirements_of_requirements_are_followed_with_their_extras() -> None:
    found = {requirement.name for requirement, _ in dependency_audit.all_requirements(["PyJWT[crypto]>=2.10,<3"])}
    assert {"PyJWT", "cryptography", "cffi"} <= found
    assert "cryptography" not in {each.name for each, _ in dependency_audit.all_requirements(["PyJWT>=2.10,<3"])}


@pytest.mark.parametrize(
    "said",
    [
        {"License_Expression": "AGPL-3.0-only"},
        {"License": "GNU General Public License v3"},
        {"Classifier": "License :: OSI Approved :: GNU General Public License v2 (GPLv2)"},
        {"License_Expression": "SSPL-1.0"},
        {},
    ],
)
def test_licence_that_binds_is_named(said: dict[str, str]) -> None:
    assert len(list(dependency_audit.binding([Installed("1", **said)]))) == 1


@pytest.mark.parametrize(
    "said",
    [
        {"License_Expression": "Apache-2.0"},
        {"License_Expression": "GPL-2.0-only OR MIT"},
        {"License_Expression": "LGPL-3.0-only"},
        {"License": "MIT"},
        {"Classifier": "License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)"},
    ],
)
def test_licence_that_does_not_bind_passes(said: dict[str, str]) -> None:
    assert list(dependency_audit.binding([Installed("1", **said)])) == []
